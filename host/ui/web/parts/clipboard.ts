import { say } from './toast.tsx';

/** Put text on the clipboard and say so; without HTTPS or loopback a browser has none for pages. */
export async function copyText(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}.`);
  } catch {
    say('The browser does not let this page use the clipboard.', { bad: true });
  }
}
