// browser.mjs - one chromium, a fresh context (cookies, storage, workers) for each test, and what tests do again and again.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const flags = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
];

export function launchBrowser(modules) {
    const { chromium } = createRequire(join(modules, 'here.cjs'))('playwright-core');
    return chromium.launch({ executablePath: process.env.MEMLANE_CHROMIUM ?? '/usr/bin/chromium', args: flags });
}

export async function openContext({ chromium, proxy, rack, modules, shots }) {
    const context = await chromium.newContext({ viewport: { width: 1400, height: 1000 }, colorScheme: 'dark' });
    context.setDefaultTimeout(40_000); // of a machine that is busy with other tests; a quiet one needs none of it
    const broken = []; // rules that a page broke
    await watchRules(context, broken, proxy.url);
    const page = await context.newPage();

    async function signIn(on = page, token = rack.token) {
        await on.goto(`${proxy.url}/`);
        await on.getByLabel('Token', { exact: true }).fill(token);
        await on.getByRole('button', { name: 'Sign in' }).click();
        await on.locator('.picture svg').waitFor();
        await on.locator('.live.good').waitFor();
    }

    async function shoot(name, on = page) {
        if (!shots)
            return;
        mkdirSync(shots, { recursive: true });
        await on.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    }

    return {
        context,
        page,
        signIn,
        shoot,
        axe: (on = page) => runAxe(on, modules),
        checkRules: () => assert.deepEqual(broken, []),
        close: () => context.close(),
    };
}

async function watchRules(context, broken, origin) {
    await context.exposeBinding('memlaneBroken', (_, text) => void broken.push(text));
    await context.addInitScript(() => {
        document.addEventListener('securitypolicyviolation', (e) =>
            window.memlaneBroken(`${e.violatedDirective}: ${e.blockedURI} ${e.sample}`),
        );
    });
    const watch = (page) => {
        page.on('pageerror', (error) => broken.push(`thrown: ${error.stack}`));
        page.on('console', (message) => {
            if (/Content Security Policy|Trusted ?Type/i.test(message.text()))
                broken.push(message.text());
        });
    };
    context.on('page', watch);
    context.pages().forEach(watch);
    context.on('request', (request) => {
        if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith('about:'))
            broken.push(`asked another server: ${request.url()}`);
    });
}

async function runAxe(page, modules) {
    const source = readFileSync(join(modules, 'axe-core/axe.min.js'), 'utf8');
    await page.evaluate(source);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    return violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).slice(0, 3).join(' | ')}`);
}
