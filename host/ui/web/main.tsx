import { render } from 'preact';
import './styles/tokens.css';
import './styles/base.css';
import './styles/parts.css';
import './styles/pages.css';
import './styles/terminal.css';
import { App } from './app.tsx';
import { applyTheme } from './prefs.ts';
import { takeCode } from './router.ts';

applyTheme();
const place = document.getElementById('app');
if (place) render(<App code={takeCode()} />, place);
