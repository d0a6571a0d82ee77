// picture.js - the rack as an SVG: nodes with memory, adapters and ports, switches, cables, and the circuits that are live.
// Nodes are links; everything that the picture shows is also in tables and on the nodes' pages.
import { html } from 'htm/preact';
import { computed, signal } from '@preact/signals';

import { bytes } from '../format.js';
import { nodeAddress } from '../route.js';
import { circuits, dangerCauses, nodes, topology } from '../state.js';
import { known, linkStates, nodeStates, problemsOf } from '../words.js';
import { cable, joins, layout } from './layout.js';
import { Hatch, MemoryBar, memorySentence } from './memory.js';

/* The circuit that the pointer or the keyboard is on; all others step back. */
export const pointedCircuit = signal(null);

// The cabling seldom changes, states often do: the layout is made anew only when names, ports or cables differ.
let lastShape = '';
let lastPlan = null;
const plan = computed(() => {
    const t = topology.value;
    if (!t)
        return null;
    const shape = JSON.stringify([
        t.nodes.map((n) => [n.name, n.adapters.map((a) => [a.name, a.ports])]),
        t.switches.map((s) => s.name),
        t.links.map((l) => [l.a, l.b]),
    ]);
    if (shape !== lastShape)
        lastPlan = layout(t);
    lastShape = shape;
    return lastPlan;
});

export function RackPicture() {
    const at = plan.value;
    if (!at || !nodes.value)
        return html`<div class="picture loading" aria-busy="true">Reading the rack …</div>`;
    const live = new Map(circuits.value.map((c) => [c.id, c]));
    const pointed = live.has(pointedCircuit.value);
    return html`<div class="picture" role="region" aria-label="Picture of the rack" tabindex="0">
        <svg
            role="group"
            aria-label=${`The rack: ${at.nodes.length} nodes, ${at.switches.length} switches, ${live.size} live circuits`}
            viewBox=${`0 0 ${at.width} ${at.height}`}
            class=${[at.dense && 'dense', pointed && 'pointed'].filter(Boolean).join(' ')}
            style=${{ width: `${Math.round(at.width * Math.max(1, Math.min(1.35, 1000 / at.width)))}px` }}
        >
            <${Hatch} />
            <${Cables} at=${at} live=${live} />
            ${at.switches.map((sw) => html`<${Switch} key=${sw.name} sw=${sw} ports=${at.ports} live=${live} />`)}
            ${at.nodes.map((place) => html`<${Node} key=${place.name} place=${place} dense=${at.dense} />`)}
        </svg>
    </div>`;
}

function point(id) {
    return {
        onPointerEnter: () => (pointedCircuit.value = id),
        onPointerLeave: () => (pointedCircuit.value = null),
    };
}

function circuitClass(circuit) {
    if (!circuit)
        return '';
    const state = circuit.state === 'up' || circuit.state === 'unverified' ? 'up' : 'changing';
    return `circuit ${state} ${circuit.danger ? 'danger-ahead' : ''} ${pointedCircuit.value === circuit.id ? 'on' : ''}`;
}

const circuitTitle = (c) =>
    `Circuit ${c.id}: ${c.compute.join(', ')} borrows over it from ${c.memory.join(', ')}, ${c.state}${dangerWords(c.danger)}`;

const dangerWords = (danger) =>
    danger ? `; in danger: ${dangerCauses(danger).join(', ')} under ${bytes(danger.size_bytes)}` : '';

const cableKey = (a, b) => [a, b].sort().join(' ');

/* Which circuit runs over which cable, from the circuits alone, as the joins in the switches are: the topology comes with an
 * answer of its own, and half a circuit would be lit until then. */
function circuitsOfCables(live) {
    const over = new Map();
    for (const circuit of live.values())
        for (const leg of circuit.path)
            for (let i = 0; i + 1 < leg.length; i += 2) over.set(cableKey(leg[i], leg[i + 1]), circuit);
    return over;
}

function Cables({ at, live }) {
    const over = circuitsOfCables(live);
    const links = topology.value.links.map((link) => ({ ...link, live: over.get(cableKey(link.a, link.b)) }));
    links.sort((a, b) => !!a.live - !!b.live); // live ones are drawn last, above the others
    return links.map((link) => {
        const [a, b] = [at.ports.get(link.a), at.ports.get(link.b)];
        if (!a || !b)
            return null;
        const state = link.down ? 'taken out of use' : (linkStates[link.state] ?? link.state);
        const broken = link.down || link.state === 'down';
        return html`<path
            key=${`${link.a} ${link.b}`}
            class=${`cable ${broken ? 'broken' : ''} ${circuitClass(link.live)}`}
            d=${cable(a, b)}
            data-link=${`${link.a} ${link.b}`}
            data-circuit=${link.live?.id}
            ...${link.live ? point(link.live.id) : {}}
        >
            <title>${link.live ? circuitTitle(link.live) : `Cable ${link.a} – ${link.b}: ${state}`}</title>
        </path>`;
    });
}

function joinsOf(name, live) {
    const pairs = [];
    for (const circuit of live.values())
        for (const leg of circuit.path)
            for (let i = 1; i + 1 < leg.length; i += 2)
                if (leg[i].startsWith(`${name}/`))
                    pairs.push({ a: leg[i], b: leg[i + 1], circuit });
    return pairs;
}

function Switch({ sw, ports, live }) {
    const pairs = joins(sw, joinsOf(sw.name, live), ports);
    const middle = sw.y + sw.height / 2;
    return html`<g class="switch">
        <rect class="bar" x=${sw.x} y=${sw.y} width=${sw.width} height=${sw.height} rx="8" />
        <text class="name" x=${sw.x + 14} y=${middle - 4}>${sw.name}</text>
        <text class="fact" x=${sw.x + 14} y=${middle + 11}>${sw.cabled} of ${portCount(sw)} ports</text>
        <title>
            ${`Circuit switch ${sw.name}: ${sw.cabled} ports cabled, ${sw.latency_ns} ns, managed by ${sw.managed_by || 'nobody'}`}
        </title>
        ${pairs.map(
            ({ d, circuit, a }) => html`<g key=${a.name}>
                <path class="halo" d=${d} />
                <path class=${`join ${circuitClass(circuit)}`} d=${d} ...${point(circuit.id)}>
                    <title>${circuitTitle(circuit)}</title>
                </path>
            </g>`,
        )}
        ${sw.dots.map(
            (dot) => html`<circle key=${dot.name} class="port" cx=${dot.x} cy=${dot.y} r="3"><title>${dot.name}</title></circle>`,
        )}
    </g>`;
}

const portCount = (sw) => (Array.isArray(sw.ports) ? sw.ports.length : sw.ports);

const graveOf = (node) => problemsOf(node).find((f) => f.severity === 'error');

function nodeLabel(node, name) {
    if (!node)
        return `${name}, not registered`;
    const cordon = node.cordoned ? ', cordoned' : '';
    const grave = graveOf(node);
    return `${name}, ${known(nodeStates, node.state).title}${cordon}: ${memorySentence(node)}${grave ? `; ${grave.detail}` : ''}`;
}

// The words are for the eye; the link that lies over them says the same in one sentence.
function Node({ place, dense }) {
    const node = nodes.value.get(place.name);
    const { x, y, width, height } = place;
    const pad = dense ? 6 : 12;
    const tone = !node ? 'quiet' : graveOf(node) && node.state === 'ready' ? 'bad' : known(nodeStates, node.state).tone;
    const label = nodeLabel(node, place.name);
    return html`<g class="node ${tone} ${node?.cordoned ? 'cordoned' : ''}">
        <g aria-hidden="true">
            ${place.adapters.map((adapter) => html`<${Adapter} key=${adapter.name} adapter=${adapter} />`)}
            <rect class="card" x=${x} y=${y} width=${width} height=${height} rx="8" />
            <circle class="dot" cx=${x + pad + 4} cy=${y + 19} r="4" />
            <text class="name" x=${x + pad + 14} y=${y + 24}>${clip(place.name, width - pad * 2 - 14)}</text>
            ${!dense && html`<text class="fact end" x=${x + width - pad} y=${y + 23}>${sideFact(node)}</text>`}
            ${
                node &&
                html`<${MemoryBar} node=${node} x=${x + pad} y=${y + 36} width=${width - pad * 2} height=${10} />
                    ${facts(node, dense).map(
                        (fact, i) => html`<text key=${i} class="fact" x=${x + pad} y=${y + 63 + i * 15}>${fact}</text>`,
                    )}`
            }
        </g>
        <a href=${nodeAddress(place.name)} aria-label=${label}>
            <title>${label}</title>
            <rect class="hit" x=${x} y=${y} width=${width} height=${height} rx="8" />
        </a>
    </g>`;
}

function sideFact(node) {
    if (!node)
        return '';
    if (node.state !== 'ready')
        return known(nodeStates, node.state).title;
    if (graveOf(node))
        return 'has a problem';
    return node.cordoned ? 'cordoned' : bytes(node.memory_bytes);
}

function facts(node, dense) {
    const moved = [];
    if (node.lent_bytes)
        moved.push(dense ? `↑ ${bytes(node.lent_bytes)}` : `lends ${bytes(node.lent_bytes)}`);
    if (node.borrowed_bytes)
        moved.push(dense ? `↓ ${bytes(node.borrowed_bytes)}` : `borrows ${bytes(node.borrowed_bytes)}`);
    if (dense)
        return moved.length ? moved : [bytes(node.free_bytes)];
    return [`${bytes(node.free_bytes)} free`, moved.join(' · ')].filter(Boolean);
}

const clip = (text, width) => {
    const fits = Math.floor(width / 7.4);
    return text.length <= fits ? text : `${text.slice(0, Math.max(1, fits - 1))}…`;
};

function Adapter({ adapter }) {
    const { x, y, width, height, dots } = adapter;
    const words = adapter.role === 'compute' ? 'borrows' : 'lends';
    return html`<g class="adapter ${adapter.role}">
        <title>${`${adapter.name}: ${adapter.role} adapter (${words})`}</title>
        <rect x=${x} y=${y} width=${width} height=${height} rx="4" />
        <text x=${x + width / 2} y=${y + 15}>${width > 60 ? `${adapter.name} ${words}` : adapter.name}</text>
        ${dots.map((dot) => html`<circle key=${dot.name} class="port" cx=${dot.x} cy=${dot.y} r="3"><title>${dot.name}</title></circle>`)}
    </g>`;
}
