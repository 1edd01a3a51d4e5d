import { render } from 'preact';
import 'uplot/dist/uPlot.min.css';
import './style/base.css';
import './style/parts.css';
import './style/pages.css';
import { App } from './app';
import { listenToKeys } from './core/keys';
import { followLinks } from './core/place';
import { applyTheme } from './core/theme';

applyTheme();
followLinks();
listenToKeys();
render(<App />, document.getElementById('app')!);
