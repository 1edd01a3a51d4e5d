import { Head } from '../parts/parts';

export function PlaygroundPage() {
  return <Head title="Playground" />;
}
