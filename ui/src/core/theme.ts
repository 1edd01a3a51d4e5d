import { Value } from './value';

export type Theme = 'system' | 'light' | 'dark';

const NAME = 'otelbridge-theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

export const theme = new Value<Theme>((localStorage.getItem(NAME) as Theme | null) ?? 'system');
/** Whether it is dark now: charts draw their own colours. */
export const isDark = new Value(false);

export function applyTheme(): void {
  const apply = (): void => {
    const wanted = theme.get();
    document.documentElement.dataset['theme'] = wanted;
    isDark.set(wanted === 'dark' || (wanted === 'system' && dark.matches));
  };
  apply();
  dark.addEventListener('change', apply);
  theme.watch((next) => {
    localStorage.setItem(NAME, next);
    apply();
  });
}
