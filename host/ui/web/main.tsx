import { render } from 'preact';
import './styles/tokens.css';
import './styles/base.css';
import './styles/parts.css';
import './styles/dialog.css';
import './styles/panels.css';
import './styles/pages.css';
import './styles/list.css';
import './styles/agent.css';
import './styles/changes.css';
import './styles/terminal.css';
import { App } from './app.tsx';
import { applyTheme } from './prefs.ts';
import { route, takePass } from './router.ts';

applyTheme();
// The terminal is the larger part: fetch it while the service is asked who we are.
if (route.value.page === 'agent' || route.value.page === 'grid') void import('./terminal/session.ts');

const place = document.getElementById('app');
if (place) render(<App pass={takePass()} />, place);
