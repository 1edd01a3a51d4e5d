import { Head } from '../parts/parts';

export function InvocationPage({ id }: { id: string }) {
  return <Head title={id} />;
}
