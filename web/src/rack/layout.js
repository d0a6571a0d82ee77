// layout.js - where everything of the picture is.  Pure: the topology and the circuits in, coordinates out.
//
// Two rows of nodes face each other; the switches lie between them as bars across the whole width.  A switch's port sits
// right above or below the port that its cable comes from, so cables run straight and never cross; they pass behind the bars
// of other switches.  Inside a switch each join has a lane of its own, like lines on a metro map.  What is where depends on
// the cabling only: the picture does not move when circuits come and go.

import { natural } from '../format.js';

const GUTTER = 128; // left of the nodes: the switches' names, where there are any
const MARGIN = 16;
const CARD_HEIGHT = 88;
const CHIP_HEIGHT = 22;
const ZONE_GAP = 64; // between nodes and switches, and between switches

const compareNames = (a, b) => natural.compare(a.name, b.name);

export function layout(topology) {
    const rows = splitRows(topology.nodes);
    const gutter = topology.switches.length ? GUTTER : MARGIN;
    const size = cardSize(Math.max(rows[0].length, rows[1].length, 1), gutter);
    const ports = new Map(); // port name -> { x, y, out } ('out' points away from its owner: 1 down, -1 up)
    const switchHeight = topology.nodes.length > 16 ? 104 : 72;
    const zone = zoneHeight(topology.switches.length, switchHeight);
    const top = MARGIN;
    const bottom = top + CARD_HEIGHT + CHIP_HEIGHT + zone + CHIP_HEIGHT;
    const nodes = [
        ...placeRow(rows[0], size, top, 1, ports),
        ...placeRow(rows[1], size, bottom, -1, ports),
    ];
    const switches = placeSwitches(topology, {
        ports,
        y: top + CARD_HEIGHT + CHIP_HEIGHT + ZONE_GAP,
        height: switchHeight,
        width: size.width - 2 * MARGIN,
    });
    return {
        width: size.width,
        height: rows[1].length ? bottom + CARD_HEIGHT + MARGIN : bottom,
        dense: size.card < 120,
        nodes,
        switches,
        ports,
    };
}

// Nodes without an adapter (they only manage switches) come last.
function splitRows(list) {
    const sorted = [...list].sort(
        (a, b) => (a.adapters.length === 0) - (b.adapters.length === 0) || compareNames(a, b),
    );
    const half = Math.ceil(sorted.length / 2);
    return [sorted.slice(0, half), sorted.slice(half)];
}

function cardSize(perRow, gutter) {
    const gap = perRow > 10 ? 8 : 24;
    const card = Math.min(220, Math.max(76, (1200 - gap * (perRow - 1)) / perRow));
    const width = gutter + Math.max(perRow * (card + gap) - gap, 440) + MARGIN * 2;
    return { gap, card, width, gutter };
}

function zoneHeight(nSwitches, height) {
    return nSwitches ? ZONE_GAP + nSwitches * (height + ZONE_GAP) : 170;
}

function placeRow(list, { gap, card, width, gutter }, y, facing, ports) {
    const used = list.length * (card + gap) - gap;
    const start = gutter + (width - gutter - MARGIN - used) / 2;
    return list.map((node, i) => {
        const x = start + i * (card + gap);
        return { name: node.name, x, y, width: card, height: CARD_HEIGHT, adapters: placeAdapters(node, x, y, card, facing, ports) };
    });
}

function placeAdapters(node, x, y, card, facing, ports) {
    const n = node.adapters.length;
    const width = Math.min(92, (card - 8) / Math.max(n, 1) - 4);
    const start = x + (card - n * (width + 4) + 4) / 2;
    const chipY = facing > 0 ? y + CARD_HEIGHT : y - CHIP_HEIGHT;
    return node.adapters.map((adapter, i) => {
        const left = start + i * (width + 4);
        const names = adapter.ports;
        const dots = names.map((name, k) => {
            const dot = {
                name,
                x: left + (width * (k + 1)) / (names.length + 1),
                y: facing > 0 ? chipY + CHIP_HEIGHT : chipY,
                out: facing,
            };
            ports.set(name, dot);
            return dot;
        });
        return { name: adapter.name, role: adapter.role, x: left, y: chipY, width, height: CHIP_HEIGHT, dots };
    });
}

function placeSwitches(topology, { ports, y, height, width }) {
    const sorted = [...topology.switches].sort(compareNames);
    const owners = new Map(sorted.map((sw, i) => [sw.name, i]));
    const placed = sorted.map((sw, i) => ({
        ...sw,
        x: MARGIN,
        y: y + i * (height + ZONE_GAP),
        width,
        height,
        cabled: 0,
        dots: [],
    }));
    const trunks = [];
    for (const { a, b } of topology.links) {
        const ends = [a, b].map((name) => owners.get(ownerOf(name)));
        if (ends[0] === undefined && ends[1] === undefined)
            continue;
        if (ends[0] !== undefined && ends[1] !== undefined)
            trunks.push([a, b, ...ends]);
        else if (ends[0] !== undefined)
            facePort(placed[ends[0]], a, ports.get(b), ports);
        else
            facePort(placed[ends[1]], b, ports.get(a), ports);
    }
    trunks.forEach((trunk, i) => placeTrunk(placed, trunk, i, ports));
    return placed;
}

const ownerOf = (port) => port.slice(0, port.indexOf('/'));

function addPort(sw, name, x, out, ports) {
    const dot = { name, x, y: out > 0 ? sw.y + sw.height : sw.y, out };
    ports.set(name, dot);
    sw.dots.push(dot);
    sw.cabled++;
}

function facePort(sw, name, peer, ports) {
    if (peer) // a cable may be declared to a node that never registered
        addPort(sw, name, peer.x, -peer.out, ports);
}

// Cables between switches run at the right edge, between the facing sides.
function placeTrunk(placed, [a, b, ia, ib], i, ports) {
    const x = MARGIN + placed[0].width - 14 - i * 10;
    addPort(placed[ia], a, x, ia <= ib ? 1 : -1, ports);
    addPort(placed[ib], b, x - (ia === ib ? 5 : 0), ia < ib ? -1 : 1, ports);
}

/* A cable from port to port. */
export function cable(from, to) {
    if (from.x === to.x && from.out !== to.out)
        return `M${from.x} ${from.y}V${to.y}`;
    const reach = from.out === to.out ? 70 + Math.min(60, Math.abs(from.x - to.x) / 8) : Math.abs(to.y - from.y) / 2;
    return `M${from.x} ${from.y}C${from.x} ${from.y + from.out * reach} ${to.x} ${to.y + to.out * reach} ${to.x} ${to.y}`;
}

/* The joins inside one switch, each in a lane in which no other overlaps it: [{ d, circuit }]. */
export function joins(sw, pairs, ports) {
    const spans = pairs
        .map(({ a, b, ...rest }) => ({ ...rest, a: ports.get(a), b: ports.get(b) }))
        .filter(({ a, b }) => a && b)
        .map((span) => ({ ...span, left: Math.min(span.a.x, span.b.x), right: Math.max(span.a.x, span.b.x) }))
        .sort((p, q) => p.left - q.left || p.right - q.right);
    const ends = []; // of each lane, where its last join ends
    for (const span of spans) {
        span.lane = ends.findIndex((end) => end + 8 < span.left);
        if (span.lane < 0)
            span.lane = ends.length;
        ends[span.lane] = span.right;
    }
    const pitch = Math.min(9, (sw.height - 28) / Math.max(ends.length, 1));
    const first = sw.y + sw.height / 2 - (pitch * (ends.length - 1)) / 2;
    return spans.map((span) => ({ ...span, d: lane(span.a, span.b, first + span.lane * pitch) }));
}

// From a's edge to the lane, along it, and to b's edge, with round corners.
function lane(a, b, y) {
    if (a.x === b.x)
        return `M${a.x} ${a.y}V${b.y}`;
    const r = Math.min(6, Math.abs(a.x - b.x) / 2);
    const way = Math.sign(b.x - a.x);
    return (
        `M${a.x} ${a.y}V${y + a.out * r}Q${a.x} ${y} ${a.x + way * r} ${y}` +
        `H${b.x - way * r}Q${b.x} ${y} ${b.x} ${y + b.out * r}V${b.y}`
    );
}
