import { Head } from '../parts/parts';

export function WorkerPage({ id }: { id: string }) {
  return <Head title={id} />;
}
