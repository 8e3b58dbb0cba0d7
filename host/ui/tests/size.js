// What a browser has to fetch, compressed; fails when it is more than it may be.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const MOST = 250 * 1024;
const dist = fileURLToPath(new URL('../dist/', import.meta.url));
let total = 0;
for (const name of readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())) {
  const bytes = readFileSync(`${name.parentPath}/${name.name}`);
  const gzip = gzipSync(bytes, { level: 9 }).length;
  total += gzip;
  console.log(`${String(bytes.length).padStart(8)} ${String(gzip).padStart(8)} gzip ${String(brotliCompressSync(bytes).length).padStart(8)} brotli  ${name.name}`);
}
console.log(`${total} bytes with gzip, ${MOST} allowed`);
process.exitCode = total > MOST ? 1 : 0;
