import { Head } from '../parts/parts';

export function InvocationsPage() {
  return <Head title="Invocations" />;
}
