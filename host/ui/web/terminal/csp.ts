/**
 * xterm.js writes its rules into `<style>` elements and its true colours into
 * `style` attributes, both of which our Content-Security-Policy forbids. The
 * same goes into constructed style sheets and the style object, which it
 * allows, so that the policy needs no `unsafe-inline`.
 */
const sheets = new WeakMap<HTMLStyleElement, CSSStyleSheet>();

export function installStyles(): void {
  Object.defineProperties(HTMLStyleElement.prototype, {
    textContent: { configurable: true, set: setRules },
    remove: { configurable: true, value: removeRules },
  });
  Object.defineProperty(HTMLSpanElement.prototype, 'setAttribute', { configurable: true, value: setAttribute });
}

function setRules(this: HTMLStyleElement, rules: string): void {
  let sheet = sheets.get(this);
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheets.set(this, sheet);
    document.adoptedStyleSheets.push(sheet);
  }
  sheet.replaceSync(rules);
}

function removeRules(this: HTMLStyleElement): void {
  const sheet = sheets.get(this);
  sheets.delete(this);
  document.adoptedStyleSheets = document.adoptedStyleSheets.filter((adopted) => adopted !== sheet);
  Element.prototype.remove.call(this);
}

function setAttribute(this: HTMLSpanElement, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}
