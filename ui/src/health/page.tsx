import { Head } from '../parts/parts';

export function HealthPage() {
  return <Head title="Health" />;
}
