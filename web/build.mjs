// build.mjs - turns src/ into the dashboard's files, and those into the C table that memlaned serves.
//
//   node build.mjs --out DIR [--modules DIR] [--table FILE.c]
//
// Everything but the page itself has a name with a hash of its content, so that browsers keep it for good and never mix two
// versions.  Nothing is inline, nothing is evaluated, nothing comes from outside: the Content-Security-Policy allows
// scripts, styles, images and connections of our own origin only, and data: addresses not at all.  Pico's icons, which are
// data: addresses, become files.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { writeTable } from './table.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
    options: { out: { type: 'string' }, modules: { type: 'string' }, table: { type: 'string' } },
});
if (!options.out) {
    console.error('usage: node build.mjs --out DIR [--modules DIR] [--table FILE.c]');
    process.exit(2);
}
const modules = resolve(options.modules ?? join(here, 'node_modules'));
if (!existsSync(modules)) {
    console.error(`build.mjs: ${modules} is not there: run "npm ci --ignore-scripts" first`);
    process.exit(1);
}
const esbuild = createRequire(join(modules, 'here.cjs'))('esbuild');

const common = {
    bundle: true,
    minify: true,
    write: false,
    target: ['chrome109', 'firefox115', 'safari16.4'],
    nodePaths: [modules],
    legalComments: 'none',
    logLevel: 'warning',
    absWorkingDir: here,
};
const files = new Map(); // path in the URL -> Buffer

function hashed(name, data) {
    const hash = createHash('sha256').update(data).digest('hex').slice(0, 12);
    const ext = extname(name);
    const path = `/assets/${basename(name, ext)}-${hash}${ext}`;
    files.set(path, Buffer.from(data));
    return path;
}

async function script(entry, format, define = {}) {
    const built = await esbuild.build({ ...common, entryPoints: [entry], format, define });
    return hashed(basename(entry), built.outputFiles[0].contents);
}

// url("data:image/svg+xml,...") -> url(/assets/icon-HASH.svg)
function iconsToFiles(css) {
    return css.replace(/url\((["'])data:image\/svg\+xml,(.*?)\1\)/g, (_, quote, text) => {
        const svg = text.includes('%3C') ? decodeURIComponent(text) : text.replaceAll('%23', '#');
        return `url(${hashed('icon.svg', svg.replace(/\\(["'])/g, '$1'))})`;
    });
}

async function style(entry) {
    const built = await esbuild.build({ ...common, entryPoints: [entry] });
    const css = iconsToFiles(built.outputFiles[0].text);
    if (css.includes('data:'))
        throw new Error('the style sheet still has a data: address');
    return hashed(basename(entry), css);
}

const workerPath = await script('src/stream/worker.js', 'iife');
const paths = {
    '@style@': await style('src/style.css'),
    '@theme@': await script('src/theme.js', 'iife'),
    '@main@': await script('src/main.js', 'esm', { WORKER_PATH: JSON.stringify(workerPath) }),
};
const page = readFileSync(join(here, 'src/index.html'), 'utf8').replace(/@\w+@/g, (key) => paths[key]);
files.set('/', Buffer.from(page));
files.set('/favicon.svg', readFileSync(join(here, 'src/favicon.svg')));

rmSync(options.out, { recursive: true, force: true });
for (const [path, data] of files) {
    const file = join(options.out, path === '/' ? 'index.html' : path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, data);
}
if (options.table)
    writeTable(options.table, files);
