import { Head } from '../parts/parts';

export function LogsPage() {
  return <Head title="Logs" />;
}
