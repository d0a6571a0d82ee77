// main.js - starts the dashboard: a one-time code from the address, the event stream, the first view.
import { render } from 'preact';
import { html } from 'htm/preact';

import { App } from './app.js';
import { takeCode } from './views/signin.js';
import { begin } from './state.js';

takeCode();
render(html`<${App} />`, document.getElementById('app'));
begin();
