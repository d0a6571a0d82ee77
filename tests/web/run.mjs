// run.mjs - tests of the dashboard in a real browser against a rack of real programs.
//
//   node tests/web/run.mjs [--build DIR] [--only TEXT] [--shots DIR] [--url URL --token TOKEN]
//
// Brings up star8 with deploy/rack, drives Debian's chromium through playwright-core, takes the rack down again.  Prints one
// line a test and "N passed, N failed" at the end.  With --url an orchestrator that is up already is used.  After every test
// the page must have broken no rule of the Content-Security-Policy, thrown no error, and asked nobody but our own server.
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchBrowser, openContext } from './browser.mjs';
import { startProxy } from './proxy.mjs';
import { bringUp, connectTo } from './rack.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
    options: {
        build: { type: 'string', default: join(here, '../../build') },
        only: { type: 'string', default: '' },
        shots: { type: 'string' },
        url: { type: 'string' },
        token: { type: 'string' },
    },
});
const modules = resolve(options.build, 'web/node_modules');
const files = ['pure', 'signin', 'picture', 'attach', 'stream', 'pages', 'access'];

async function collect() {
    const cases = [];
    for (const file of files)
        for (const [name, run] of Object.entries(await import(`./cases/${file}.mjs`)))
            if (typeof run === 'function' && name.includes(options.only))
                cases.push({ name, run });
    return cases;
}

async function runCase({ name, run }, world) {
    const began = Date.now();
    const problem = await (run.length ? inBrowser(name, run, world) : attempt(run));
    console.log(`${problem ? 'FAIL' : 'ok  '} ${name} (${Date.now() - began} ms)`);
    if (problem)
        console.log(`     ${String(problem.stack ?? problem).replaceAll('\n', '\n     ')}`);
    return !problem;
}

async function inBrowser(name, run, world) {
    const browser = await openContext(world);
    const problem = await attempt(async () => {
        await run({ ...world, ...browser });
        await browser.checkRules();
    });
    if (problem)
        await attempt(() => browser.shoot(`failed-${name}`));
    await browser.close();
    world.proxy.mend();
    return problem ?? attempt(world.rack.detachAll);
}

/* What it throws, or null. */
async function attempt(run) {
    try {
        await run();
        return null;
    } catch (error) {
        return error;
    }
}

async function runAll(cases, rack) {
    const proxy = await startProxy(rack.url);
    const chromium = await launchBrowser(modules);
    let passed = 0;
    for (const one of cases)
        passed += await runCase(one, { chromium, rack, proxy, modules, shots: options.shots });
    await chromium.close();
    proxy.close();
    return passed;
}

async function main() {
    const cases = await collect();
    const rack = options.url ? await connectTo(options.url, options.token) : await bringUp(options.build);
    let passed = 0;
    try {
        passed = await runAll(cases, rack);
    } finally {
        rack.down();
    }
    console.log(`${passed} passed, ${cases.length - passed} failed`);
    return passed === cases.length && passed > 0 ? 0 : 1;
}

process.exit(await main());
