// app.js - the frame around every view: navigation, the banners, and where the focus goes when the view changes.
import { html } from 'htm/preact';
import { useEffect, useRef } from 'preact/hooks';

import { route } from './route.js';
import { me, signOut, status, stream, trouble } from './state.js';
import { problemTitle } from './words.js';
import { StreamBanner } from './ui/banner.js';
import { ThemeButton } from './ui/theme.js';
import { AttachmentView } from './views/attachment.js';
import { AuditView } from './views/audit.js';
import { AttachmentsView } from './views/attachments.js';
import { EventsView } from './views/events.js';
import { NodeView } from './views/node.js';
import { NodesView } from './views/nodes.js';
import { RackView } from './views/rack.js';
import { SignIn } from './views/signin.js';

const places = [
    { view: '', title: 'Rack' },
    { view: 'nodes', title: 'Nodes' },
    { view: 'attachments', title: 'Attachments' },
    { view: 'events', title: 'Events' },
    { view: 'audit', title: 'Audit', role: 'admin' },
];

export function App() {
    if (me.value === undefined)
        return html`<main class="page waiting" aria-busy="true">
            ${trouble.value ? `${problemTitle(trouble.value)}. Trying again.` : 'Memlane'}
        </main>`;
    if (me.value === null)
        return html`<${SignIn} />`;
    return html`<${Frame} />`;
}

function Frame() {
    return html`
        <a class="skip" href="#content" onClick=${skip}>Skip to the content</a>
        <header class="top">
            <a class="brand" href="#/"><${Mark} />Memlane</a>
            <nav aria-label="Views">
                <ul>
                    ${places
                        .filter((place) => !place.role || place.role === me.value.role)
                        .map((place) => html`<li key=${place.view}><${Place} ...${place} /></li>`)}
                </ul>
            </nav>
            <div class="who">
                <${LiveMark} />
                <span title="Signed in as ${me.value.name}">${me.value.name} <small>${me.value.role}</small></span>
                <${ThemeButton} />
                <button class="plain" onClick=${signOut}>Sign out</button>
            </div>
        </header>
        <${StreamBanner} />
        <main class="page" id="content" tabindex="-1"><${View} /></main>
        <footer class="foot">${status.value && `memlaned ${status.value.version}`}</footer>
    `;
}

function skip(event) {
    event.preventDefault();
    document.getElementById('content').focus();
}

function Place({ view, title }) {
    const here = route.value.view === view;
    return html`<a href=${`#/${view}`} aria-current=${here ? 'page' : undefined}>${title}</a>`;
}

function Mark() {
    return html`<svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true" class="mark">
        <path d="M4 8h8c7 0 5 16 16 16" />
        <path class="second" d="M4 24h8c2 0 3-1.500 4-3.500M19.500 11.500C20.800 9.500 22 8 28 8" />
    </svg>`;
}

function LiveMark() {
    const live = stream.value.state === 'live';
    return html`<span class="live ${live ? 'good' : 'bad'}">${live ? 'live' : 'not live'}</span>`;
}

function View() {
    const { view, id } = route.value;
    const box = useRef();
    const first = useRef(true);
    useEffect(() => {
        const title = box.current.querySelector('h1');
        document.title = title ? `${title.textContent} · Memlane` : 'Memlane';
        if (!first.current)
            title?.focus();
        first.current = false;
    }, [view, id]);
    return html`<div ref=${box}>${pick(view, id)}</div>`;
}

function pick(view, id) {
    if (view === '')
        return html`<${RackView} />`;
    if (view === 'nodes')
        return id ? html`<${NodeView} name=${id} key=${id} />` : html`<${NodesView} />`;
    if (view === 'attachments')
        return id ? html`<${AttachmentView} id=${id} key=${id} />` : html`<${AttachmentsView} />`;
    if (view === 'events')
        return html`<${EventsView} />`;
    if (view === 'audit')
        return html`<${AuditView} />`;
    return html`<h1 tabindex="-1">Nothing here</h1><p><a href="#/">To the rack</a></p>`;
}
