// attachmenttable.js - attachments as a table, with what can be done to each.
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';

import { bytes, nanoseconds, shortId, time } from '../format.js';
import { pointedCircuit } from '../rack/picture.js';
import { attachmentAddress } from '../route.js';
import { mayWrite, worryOf } from '../state.js';
import { DetachDialog } from '../views/detach.js';
import { AttachmentState, Empty, NodeLink } from './bits.js';
import { shortProgress } from './progress.js';

export function AttachmentTable({ list, empty }) {
    const [leaving, setLeaving] = useState(null);
    if (!list.length)
        return html`<${Empty}>${empty}<//>${leaving && html`<${DetachDialog} id=${leaving} onClose=${() => setLeaving(null)} />`}`;
    return html`<div class="scroll">
            <table class="attachments">
                <thead>
                    <tr>
                        <th scope="col">Attachment</th><th scope="col">Borrower</th><th scope="col">Donor</th>
                        <th scope="col" class="num">Size</th><th scope="col">State</th>
                        <th scope="col" class="num">Path cost</th><th scope="col">Since</th>
                        ${mayWrite.value && html`<th scope="col"><span class="hidden">Actions</span></th>`}
                    </tr>
                </thead>
                <tbody>
                    ${list.map((a) => html`<${Row} key=${a.id} a=${a} onDetach=${() => setLeaving(a.id)} />`)}
                </tbody>
            </table>
        </div>
        ${leaving && html`<${DetachDialog} id=${leaving} onClose=${() => setLeaving(null)} />`}`;
}

export const canDetach = (a) => a.state === 'attached' || a.state === 'pending' || a.state === 'stuck';

function Row({ a, onDetach }) {
    const point = () => (pointedCircuit.value = a.circuit);
    const leave = () => (pointedCircuit.value = null);
    return html`<tr onPointerEnter=${point} onPointerLeave=${leave} onFocusIn=${point} onFocusOut=${leave} data-id=${a.id}>
        <th scope="row"><a href=${attachmentAddress(a.id)} title=${a.id}><code>${shortId(a.id)}</code></a></th>
        <td><${NodeLink} name=${a.compute_node} /></td>
        <td>${a.donor ? html`<${NodeLink} name=${a.donor} />` : '–'}</td>
        <td class="num">${bytes(a.size_bytes)}</td>
        <td><${AttachmentState} of=${a.state} /> <small>${shortProgress(a)}</small>
            ${worryOf(a) && html`<small class="bad">${worryOf(a)}</small>`}</td>
        <td class="num">${nanoseconds(a.cost_ns)}</td>
        <td><time datetime=${a.created_at}>${time(a.created_at)}</time></td>
        ${mayWrite.value &&
        html`<td class="act">
            ${canDetach(a) &&
            html`<button class="small outline" onClick=${onDetach}
                aria-label=${`Detach ${bytes(a.size_bytes)} of ${a.donor} from ${a.compute_node}`}>Detach …</button>`}
        </td>`}
    </tr>`;
}
