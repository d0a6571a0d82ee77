// signin.js - who are you: a token, or the one-time code that the quickstart printed.
import { html } from 'htm/preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { api } from '../api.js';
import { reread } from '../route.js';
import { signedIn } from '../state.js';
import { Problem } from '../ui/bits.js';
import { ThemeButton } from '../ui/theme.js';

let code = null; // from the address; used once

/* Takes the code of an address that ends in #code=... out of the address and the history at once. */
export function takeCode() {
    const found = /^#code=([^&]+)$/.exec(location.hash);
    if (!found)
        return;
    code = decodeURIComponent(found[1]);
    history.replaceState(null, '', `${location.pathname}#/`);
    reread();
}

export function SignIn() {
    const [kind, setKind] = useState('token');
    const [problem, setProblem] = useState(null);
    const [busy, setBusy] = useState(false);
    const field = useRef();

    async function send(secret) {
        setBusy(true);
        setProblem(null);
        try {
            await api.signIn(secret);
            signedIn(await api.whoami());
        } catch (error) {
            setProblem(signInProblem(error.problem, secret));
            setBusy(false);
            field.current?.focus();
        }
    }

    useEffect(() => {
        document.title = 'Sign in · Memlane';
        if (code)
            send({ code });
        else
            field.current.focus();
        code = null;
    }, []);

    function submit(event) {
        event.preventDefault();
        const text = field.current.value.trim();
        if (text)
            send({ [kind]: text });
    }

    return html`<main class="signin">
        <article>
            <header><h1>Memlane</h1><${ThemeButton} /></header>
            <form onSubmit=${submit} autocomplete="off">
                <fieldset class="choice">
                    <legend>Sign in with</legend>
                    <${Kind} value="token" now=${kind} set=${setKind}>a token<//>
                    <${Kind} value="code" now=${kind} set=${setKind}>a one-time code<//>
                </fieldset>
                <label for="secret">${kind === 'token' ? 'Token' : 'One-time code'}</label>
                <input ref=${field} id="secret" name="secret" type=${kind === 'token' ? 'password' : 'text'} required
                    spellcheck="false" autocomplete="off" autocapitalize="off" aria-describedby="where" />
                <p id="where" class="hint">
                    ${
                        kind === 'token'
                            ? html`“memlane token create” makes one.`
                            : 'The quickstart prints one. It works once, and not for long.'
                    }
                </p>
                <${Problem} of=${problem} />
                <button type="submit" aria-busy=${busy} disabled=${busy}>Sign in</button>
            </form>
        </article>
    </main>`;
}

function Kind({ value, now, set, children }) {
    return html`<label><input type="radio" name="kind" value=${value} checked=${now === value} onChange=${() => set(value)} />
        ${children}</label>`;
}

function signInProblem(problem, secret) {
    if (problem?.status !== 401)
        return problem ?? { title: 'Signing in failed' };
    return {
        title: secret.code ? 'This code does not work (any more)' : 'This token does not work',
        detail: secret.code ? 'a code works once and for a few minutes: ask for a new one, or use a token' : undefined,
    };
}
