import { Provider } from '@angular/core';
import { SOCKET } from '../app/api/live';
import { LiveEvent } from '../app/api/messages';

/** The other end of the live socket: opens, speaks and closes when a test says so, and remembers what it was told. */
export class Socket {
  readonly said: { op: string; topic: string }[] = [];
  readyState = 0;
  onopen: () => void = () => undefined;
  onmessage: (message: { data: string }) => void = () => undefined;
  onclose: () => void = () => undefined;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.said.push(JSON.parse(text) as { op: string; topic: string });
  }

  close(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose();
  }

  accept(): void {
    this.readyState = 1;
    this.onopen();
  }

  speak(event: Partial<LiveEvent>): void {
    this.onmessage({ data: JSON.stringify({ topic: '', seq: 0, missed: 0, data: null, reason: '', message: '', ...event }) });
  }

  publish(topic: string, seq: number, data: unknown = null): void {
    this.speak({ type: 'event', topic, seq, data });
  }
}

/** All sockets that were opened in a test, the newest last. */
export class Sockets {
  readonly opened: Socket[] = [];
  readonly provider: Provider = { provide: SOCKET, useValue: (url: string) => this.open(url) };

  get newest(): Socket {
    return this.opened[this.opened.length - 1];
  }

  private open(url: string): Socket {
    const socket = new Socket(url);
    this.opened.push(socket);
    return socket;
  }
}
