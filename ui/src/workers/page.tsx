import { Head } from '../parts/parts';

export function WorkersPage() {
  return <Head title="Workers" />;
}
