/**
 * The second half of the browser's sign-in. A cookie is shared by all ports of
 * a host; this lives in our own origin's storage and goes out as a header, so
 * the cookie alone is worth nothing.
 */
const NAME = 'agentd-key';

export const HEADER = 'Agentd-Key';

export function key(): string | null {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

export function keepKey(value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, value);
  } catch {
    // Storage is off: the sign-in lasts as long as the service allows a bare cookie, that is not at all.
  }
}
