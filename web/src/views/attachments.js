// attachments.js - everything that is borrowed, and what was.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { endedAttachments, liveAttachments, mayWrite } from '../state.js';
import { AttachmentTable } from '../ui/attachmenttable.js';
import { AttachDialog } from './attach.js';

export function AttachmentsView() {
    const [attaching, setAttaching] = useState(false);
    const ended = endedAttachments.value;
    return html`
        <div class="heading">
            <h1 tabindex="-1">Attachments</h1>
            ${mayWrite.value && html`<button onClick=${() => setAttaching(true)}>Attach memory …</button>`}
        </div>
        <${AttachmentTable} list=${liveAttachments.value} empty="Nothing is borrowed." />
        ${
            ended.length > 0 &&
            html`<section aria-labelledby="ended-title">
                <h2 id="ended-title">Ended</h2>
                <${AttachmentTable} list=${ended} empty="" />
            </section>`
        }
        ${attaching && html`<${AttachDialog} onClose=${() => setAttaching(false)} />`}
    `;
}
