// format.js - figures for people: sizes, latencies, times.  Pure.
const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export const GIB = 2 ** 30;
export const sizeUnits = { MiB: 2 ** 20, GiB: GIB, TiB: 2 ** 40 };

/* Three significant digits at most, whole numbers without a point: 16 GiB, 1.5 TiB, 383 GiB. */
export function bytes(n) {
    if (n === null || n === undefined)
        return '–';
    let unit = 0;
    let value = n;
    while (value >= 1024 && unit < UNITS.length - 1) {
        value /= 1024;
        unit++;
    }
    const digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return `${value.toFixed(digits)} ${n === 1 ? 'byte' : UNITS[unit]}`;
}

export function nanoseconds(n) {
    if (n === null || n === undefined)
        return '–';
    return n < 10_000 ? `${n} ns` : `${(n / 1000).toFixed(1)} µs`;
}

/* n2 before n10. */
export const natural = new Intl.Collator('en', { numeric: true });

export function count(n, one, many = `${one}s`) {
    return `${n} ${n === 1 ? one : many}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/* 23:41:07, with the day in front when it is not today. */
export function time(at) {
    const date = new Date(at);
    if (Number.isNaN(date.getTime()))
        return '–';
    const today = date.toDateString() === new Date().toDateString();
    return today ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

export function duration(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60)
        return count(s, 'second');
    if (s < 3600)
        return count(Math.round(s / 60), 'minute');
    if (s < 86400 * 2)
        return count(Math.round(s / 3600), 'hour');
    return count(Math.round(s / 86400), 'day');
}

/* The first part of a long id: enough for people to tell apart. */
export const shortId = (id) => (id.length > 13 ? id.slice(0, 8) : id);
