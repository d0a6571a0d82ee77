// shoot.mjs - takes the picture of the running dashboard that README.md shows.
//
//   node tests/web/shoot.mjs --out FILE.png [--build DIR] [--light]
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { launchBrowser, openContext } from './browser.mjs';
import { bringUp } from './rack.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
    options: {
        out: { type: 'string' },
        build: { type: 'string', default: join(here, '../../build') },
        light: { type: 'boolean', default: false },
    },
});
if (!options.out) {
    console.error('usage: node tests/web/shoot.mjs --out FILE.png [--build DIR] [--light]');
    process.exit(2);
}
const modules = resolve(options.build, 'web/node_modules');
const rack = await bringUp(options.build);
const chromium = await launchBrowser(modules);
try {
    for (const [node, gib, donor] of [
        ['n1', 64, 'n2'],
        ['n1', 32, 'n2'],
        ['n3', 96, 'n4'],
        ['n5', 128, 'n7'],
        ['n8', 48, 'n6'],
        ['n6', 16, 'n1'],
    ])
        await rack.attach(node, gib, { donor });
    const { page, signIn } = await openContext({ chromium, rack, proxy: rack, modules });
    await page.emulateMedia({ colorScheme: options.light ? 'light' : 'dark' });
    await signIn();
    await page.mouse.move(0, 0);
    await page.waitForTimeout(1000);
    await page.screenshot({ path: options.out, fullPage: true });
} finally {
    await chromium.close();
    rack.down();
}
