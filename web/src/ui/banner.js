// banner.js - says when what is on the page is not live, since when, and when a read failed.
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';

import { duration, time } from '../format.js';
import { stream, trouble } from '../state.js';
import { problemTitle } from '../words.js';

export function StreamBanner() {
    const { state, since } = stream.value;
    const down = state === 'down';
    return html`<div role="status" class="banners">
        ${down && html`<${Down} since=${since} />`}
        ${!down &&
        trouble.value &&
        html`<p class="banner">${problemTitle(trouble.value)}${trouble.value.detail && `: ${trouble.value.detail}`}</p>`}
    </div>`;
}

function Down({ since }) {
    const [now, setNow] = useState(Date.now());
    useEffect(() => {
        const ticking = setInterval(() => setNow(Date.now()), 5000);
        return () => clearInterval(ticking);
    }, []);
    return html`<p class="banner">
        <strong>Not live since ${time(since)}</strong> (${duration(now - since)}). The page shows the last that was known and
        goes on by itself when the orchestrator answers again.
    </p>`;
}
