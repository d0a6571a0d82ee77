// rack.mjs - the rack that the browser's tests look at, and its API as tests call it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const GIB = 2 ** 30;

/* A rack of its own, ended by down(). */
export async function bringUp(build) {
    const dir = mkdtempSync('/tmp/memlane-web-');
    const command = (...args) => execFileSync(join(root, 'deploy/rack'), [...args, '--dir', dir], { stdio: ['ignore', 2, 2] });
    const down = () => {
        command('down');
        const trace = join(dir, 'trace.jsonl');
        if (existsSync(trace)) // what the browser made the rack do has to be what the hardware allows, too
            execFileSync('python3', ['-B', join(root, 'tests/rack/trace_check.py'), trace, join(root, 'deploy/racks/star8.json')], { stdio: ['ignore', 2, 2] });
        rmSync(dir, { recursive: true, force: true });
    };
    try {
        command('up', '--build', build, '--rack', join(root, 'deploy/racks/star8.json'), '--port', '0');
    } catch (error) {
        down();
        throw error;
    }
    const env = Object.fromEntries(
        readFileSync(join(dir, 'rack.env'), 'utf8').trim().split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
    return {
        ...(await connectTo(env.MEMLANE_URL, env.MEMLANE_TOKEN)),
        start: (program) => command('start', program),
        stop: (program) => command('stop', program),
        control: (...words) => execFileSync(join(build, 'bin/memlane-emulator'), ['ctl', '--dir', dir, ...words], { stdio: ['ignore', 2, 2] }),
        down,
    };
}

export async function connectTo(url, token) {
    const call = async (method, path, body) => {
        const headers = { Authorization: `Bearer ${token}`, Accept: 'application/json', 'Content-Type': 'application/json' };
        const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
        const text = await response.text();
        const json = text ? JSON.parse(text) : null;
        if (!response.ok)
            throw Object.assign(new Error(`${method} ${path}: ${response.status} ${text}`), { json });
        return json;
    };
    const attachments = async () => (await call('GET', '/v1/attachments?limit=1000')).items.filter((a) => a.holds.length);
    return {
        url,
        token,
        call,
        attachments,
        attach: (computeNode, gib, more = {}) =>
            call('POST', '/v1/attachments?wait=30', { compute_node: computeNode, size_bytes: gib * GIB, ...more }),
        detachAll: async () => {
            for (const { id } of await attachments())
                await call('DELETE', `/v1/attachments/${id}?wait=30`);
        },
        down: () => {},
    };
}
