/**
 * The second half of the browser's sign-in. A cookie is shared by all ports of
 * a host; this lives in our own origin's storage and goes out as a header, so
 * the cookie alone is worth nothing.
 */
const NAME = 'agentd-key';

export const HEADER = 'Agentd-Key';

export function key(): string | null {
  try {
    return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

/** Keep it for all tabs, or for this one, beside what the others are signed in with. */
export function keepKey(value: string, tab = false): void {
  try {
    sessionStorage.removeItem(NAME);
    (tab ? sessionStorage : localStorage).setItem(NAME, value);
  } catch {
    // Storage is off: the sign-in lasts as long as the service allows a bare cookie, that is not at all.
  }
}

/** Forget what this tab is signed in with. */
export function dropKey(): void {
  try {
    const storage = sessionStorage.getItem(NAME) === null ? localStorage : sessionStorage;
    storage.removeItem(NAME);
  } catch {
    // It was never kept.
  }
}
