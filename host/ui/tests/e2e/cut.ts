import { createServer, connect, type Server, type Socket } from 'node:net';
import { URL_BASE } from './service.ts';

/**
 * A network that can be cut. The browser is set to reach the service's
 * address through it, so that the page's origin stays what it is.
 */
export class Network {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private up = true;

  private constructor() {
    const { hostname, port } = new URL(URL_BASE);
    this.server = createServer((near) => {
      if (!this.up) {
        near.destroy();
        return;
      }
      const far = connect(Number(port), hostname);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          this.sockets.delete(one);
          other.destroy();
        });
        one.setNoDelay(true);
        one.pipe(other);
      }
    });
  }

  static async open(): Promise<Network> {
    const network = new Network();
    await new Promise<void>((resolve) => network.server.listen(0, '127.0.0.1', resolve));
    return network;
  }

  /** The browser's argument that leads through here. */
  get rule(): string {
    const { host } = new URL(URL_BASE);
    const address = this.server.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    return `--host-resolver-rules=MAP ${host} 127.0.0.1:${port}`;
  }

  cut(): void {
    this.up = false;
    for (const socket of this.sockets) socket.destroy();
  }

  mend(): void {
    this.up = true;
  }

  close(): void {
    this.cut();
    this.server.close();
  }
}
