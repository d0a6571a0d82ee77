// nodes.js - all nodes as a table.
import { html } from 'htm/preact';

import { bytes, count, natural } from '../format.js';
import { lendableNow, nodes } from '../state.js';
import { problemsOf } from '../words.js';
import { Empty, NodeLink, NodeState, sentence } from '../ui/bits.js';

export function NodesView() {
    const list = [...(nodes.value?.values() ?? [])].sort((a, b) => natural.compare(a.name, b.name));
    return html`
        <div class="heading"><h1 tabindex="-1">Nodes</h1></div>
        ${
            list.length
                ? html`<div class="scroll" tabindex="0" role="region" aria-label="Nodes"><${Table} list=${list} /></div>`
                : html`<${Empty}>No node has registered. An agent needs the orchestrator’s address and a join token.<//>`
        }
    `;
}

// The gravest one in words: an operator who sees only a count has to open the page to learn whether it matters.
function findingWords(list) {
    const first = list.find((f) => f.severity === 'error') ?? list[0];
    if (!first)
        return '–';
    return html`<small>${sentence(first.detail)}${list.length > 1 && ` And ${count(list.length - 1, 'more finding')}.`}</small>`;
}

function Table({ list }) {
    return html`<table>
        <thead>
            <tr>
                <th scope="col">Node</th><th scope="col">State</th><th scope="col">Adapters</th>
                <th scope="col" class="num">Memory</th><th scope="col" class="num">Free</th>
                <th scope="col" class="num">Can lend</th><th scope="col" class="num">Lends</th>
                <th scope="col" class="num">Borrows</th><th scope="col">Findings</th>
            </tr>
        </thead>
        <tbody>
            ${list.map(
                (n) => html`<tr key=${n.name}>
                    <th scope="row"><${NodeLink} name=${n.name} /></th>
                    <td><${NodeState} of=${n.state} />${n.cordoned && html` <small>cordoned</small>`}</td>
                    <td>${(n.adapters ?? []).map((a) => a.role).join(', ') || '–'}</td>
                    <td class="num">${bytes(n.memory_bytes)}</td>
                    <td class="num">${bytes(n.free_bytes)}</td>
                    <td class="num">${bytes(lendableNow(n))}</td>
                    <td class="num">${n.lent_bytes ? bytes(n.lent_bytes) : '–'}</td>
                    <td class="num">${n.borrowed_bytes ? bytes(n.borrowed_bytes) : '–'}</td>
                    <td>${findingWords(problemsOf(n))}</td>
                </tr>`,
            )}
        </tbody>
    </table>`;
}
