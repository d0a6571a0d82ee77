// api.js - the REST API as functions.  Every failure is an ApiError with the problem document that explains it.
// The session is a cookie that scripts cannot see; writes carry the header that other sites cannot send.

export class ApiError extends Error {
    constructor(problem) {
        super(problem.detail ?? problem.title ?? 'the request failed');
        this.problem = problem;
    }
    get status() {
        return this.problem.status;
    }
    get code() {
        return this.problem.code;
    }
}

async function request(method, path, { body, headers = {}, signal } = {}) {
    const init = { method, headers: { Accept: 'application/json', ...headers }, signal, cache: 'no-store' };
    if (method !== 'GET')
        init.headers['X-Memlane-CSRF'] = '1';
    if (body !== undefined) {
        init.headers['Content-Type'] = 'application/json';
        init.body = JSON.stringify(body);
    }
    let response;
    try {
        response = await fetch(path, init);
    } catch (cause) {
        if (cause.name === 'AbortError')
            throw cause;
        throw new ApiError({ status: 0, code: 'unreachable', title: 'The orchestrator does not answer' });
    }
    const json = await answer(response);
    if (!response.ok)
        throw new ApiError({ status: response.status, title: response.statusText, ...json });
    return json;
}

async function answer(response) {
    if (!response.headers.get('Content-Type')?.includes('json'))
        return null;
    try {
        return await response.json();
    } catch {
        throw new ApiError({ status: response.status, code: 'unreadable', title: 'The answer is not readable' });
    }
}

const get = (path, options) => request('GET', path, options);
const post = (path, body, key) =>
    request('POST', path, { body, headers: { 'Idempotency-Key': key ?? newKey() } });

/* A key for POST: the same key sent twice is one request. */
export function newKey() {
    return [...crypto.getRandomValues(new Uint8Array(16))].map((n) => n.toString(16).padStart(2, '0')).join('');
}

/* Every page of a list, newest answer's event number beside it. */
async function list(path) {
    const items = [];
    let cursor = null;
    let asOf = 0;
    do {
        const page = await get(`${path}${path.includes('?') ? '&' : '?'}limit=1000${cursor ? `&cursor=${cursor}` : ''}`);
        items.push(...page.items);
        cursor = page.next_cursor;
        asOf = page.as_of;
    } while (cursor);
    return { items, asOf };
}

const name = encodeURIComponent;

export const api = {
    whoami: () => get('/v1/sessions'),
    signIn: (secret) => request('POST', '/v1/sessions', { body: secret }),
    signOut: () => request('DELETE', '/v1/sessions'),
    status: () => get('/v1/status'),
    nodes: () => list('/v1/nodes'),
    node: (node) => get(`/v1/nodes/${name(node)}`),
    setCordon: (node, cordoned) => request('PATCH', `/v1/nodes/${name(node)}`, { body: { cordoned } }),
    fence: (node, bootId) => post(`/v1/nodes/${name(node)}/fence`, { boot_id: bootId }),
    audit: () => get('/v1/audit?latest=1&limit=300'),
    topology: () => get('/v1/topology'),
    attachments: () => list('/v1/attachments'),
    attachment: (id) => get(`/v1/attachments/${name(id)}`),
    circuits: () => list('/v1/circuits'),
    eventsAfter: (after, limit) => get(`/v1/events?after=${after}&limit=${limit}`),
    preview: (body) => post('/v1/placements', body),
    attach: (body, key) => post('/v1/attachments', body, key),
    detach: (id) => request('DELETE', `/v1/attachments/${name(id)}`),
    retry: (id) => post(`/v1/attachments/${name(id)}/retry`),
    cancelDetach: (id) => post(`/v1/attachments/${name(id)}/cancel`),
};
