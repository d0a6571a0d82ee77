// table.mjs - writes the dashboard's files as a C table (struct web_file, orchestrator/api/web_table.h).
//
// Rows are sorted by path.  A file that shrinks has two rows: the one packed with gzip first, then the plain one for clients
// that do not take gzip.  The same input gives the same bytes.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';

const types = {
    '': 'text/html; charset=utf-8',
    '.js': 'text/javascript; charset=utf-8',
    '.css': 'text/css; charset=utf-8',
    '.svg': 'image/svg+xml',
};

function bytes(data) {
    const lines = [];
    for (let i = 0; i < data.length; i += 32)
        lines.push([...data.subarray(i, i + 32)].join(','));
    return lines.join(',\n');
}

function etag(data) {
    return `\\"${createHash('sha256').update(data).digest('hex').slice(0, 24)}\\"`;
}

export function writeTable(file, files) {
    const arrays = [];
    const rows = [];
    const add = (path, data, gzip) => {
        const name = `file_${rows.length}`;
        arrays.push(`static const unsigned char ${name}[] = {\n${bytes(data)}};`);
        rows.push(
            `    {"${path}", "${types[extname(path)]}", "${etag(data)}", ${gzip}, ${name}, sizeof ${name}},`,
        );
    };
    for (const path of [...files.keys()].sort()) {
        const data = files.get(path);
        const packed = gzipSync(data, { level: 9 });
        if (packed.length < data.length * 0.9)
            add(path, packed, true);
        add(path, data, false);
    }
    writeFileSync(
        file,
        [
            '/* The dashboard, made by web/build.mjs. */',
            '#include "api/web_table.h"',
            '',
            ...arrays,
            '',
            'const struct web_file web_files[] = {',
            ...rows,
            '};',
            'const size_t web_n_files = sizeof web_files / sizeof *web_files;',
            '',
        ].join('\n'),
    );
}
