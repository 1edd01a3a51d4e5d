import { Head } from '../parts/parts';

export function QueryPage() {
  return <Head title="Query" />;
}
