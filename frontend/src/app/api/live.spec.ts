import { TestBed } from '@angular/core/testing';
import { Sockets } from '../../testing/socket';
import { Live } from './live';

describe('the live socket', () => {
  let sockets: Sockets;
  let live: Live;

  beforeEach(() => {
    vi.useFakeTimers({ now: 1_000_000 });
    vi.spyOn(Math, 'random').mockReturnValue(1);
    sockets = new Sockets();
    TestBed.configureTestingModule({ providers: [sockets.provider] });
    live = TestBed.inject(Live);
  });

  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  /** Watch a topic and write down what comes. */
  const note = (topic: string) => {
    const heard: unknown[] = [];
    const stop = live.watch(topic, (data) => heard.push(data), () => heard.push('gap'));
    return { heard, stop };
  };

  it('is opened at the address of the page by the first who watches, and only once', () => {
    expect(sockets.opened).toHaveLength(0);
    note('alerts');
    note('incidents');
    expect(sockets.opened.map((one) => one.url)).toEqual([`ws://${location.host}/api/v1/live`]);
  });

  it('subscribes to what is watched once it is open, each topic once', () => {
    note('alerts');
    note('alerts');
    note('overview');
    expect(sockets.newest.said).toEqual([]);
    sockets.newest.accept();
    expect(sockets.newest.said).toEqual([{ op: 'subscribe', topic: 'alerts' }, { op: 'subscribe', topic: 'overview' }]);
    note('incidents');
    expect(sockets.newest.said.at(-1)).toEqual({ op: 'subscribe', topic: 'incidents' });
  });

  it('hands data to everybody who watches its topic and to nobody else', () => {
    const [one, two, other] = [note('alerts'), note('alerts'), note('incidents')];
    sockets.newest.accept();
    sockets.newest.publish('alerts', 1, 'a');
    expect([one.heard, two.heard, other.heard]).toEqual([['a'], ['a'], []]);
  });

  it('unsubscribes when the last one stops, and then hands out nothing', () => {
    const [one, two] = [note('alerts'), note('alerts')];
    sockets.newest.accept();
    one.stop();
    one.stop();
    expect(sockets.newest.said).toHaveLength(1);
    two.stop();
    expect(sockets.newest.said.at(-1)).toEqual({ op: 'unsubscribe', topic: 'alerts' });
    sockets.newest.publish('alerts', 1);
    expect(two.heard).toEqual([]);
  });

  it('subscribes anew for somebody who comes after the last one left', () => {
    const one = note('alerts');
    sockets.newest.accept();
    one.stop();
    const two = note('alerts');
    one.stop();
    expect(sockets.newest.said.map((said) => said.op)).toEqual(['subscribe', 'unsubscribe', 'subscribe']);
    sockets.newest.publish('alerts', 1, 'a');
    expect(two.heard).toEqual(['a']);
  });

  it('tells of a gap that the server marks, before what came after it', () => {
    const { heard } = note('alerts');
    sockets.newest.accept();
    sockets.newest.speak({ type: 'subscribed', topic: 'alerts' });
    sockets.newest.publish('alerts', 1, 'a');
    sockets.newest.speak({ type: 'gap', topic: 'alerts', seq: 4, missed: 3 });
    sockets.newest.publish('alerts', 5, 'e');
    expect(heard).toEqual(['a', 'gap', 'e']);
  });

  it('notices by the numbers a gap that nobody marked', () => {
    const { heard } = note('alerts');
    sockets.newest.accept();
    sockets.newest.speak({ type: 'subscribed', topic: 'alerts' });
    for (const seq of [1, 2, 4, 5]) sockets.newest.publish('alerts', seq, seq);
    expect(heard).toEqual([1, 2, 'gap', 4, 5]);
  });

  it('counts every topic for itself, from one in every subscription', () => {
    const [alerts, incidents] = [note('alerts'), note('incidents')];
    sockets.newest.accept();
    for (const topic of ['alerts', 'incidents']) sockets.newest.speak({ type: 'subscribed', topic });
    sockets.newest.publish('alerts', 1);
    sockets.newest.publish('alerts', 2);
    sockets.newest.publish('incidents', 1);
    expect([alerts.heard, incidents.heard]).toEqual([[null, null], [null]]);
    sockets.newest.speak({ type: 'subscribed', topic: 'alerts' });
    sockets.newest.publish('alerts', 1);
    expect(alerts.heard).toEqual([null, null, null]);
  });

  it('is not confused by confirmations, errors and pongs', () => {
    const { heard } = note('alerts');
    sockets.newest.accept();
    for (const type of ['subscribed', 'unsubscribed', 'error', 'pong'] as const) sockets.newest.speak({ type, topic: 'alerts' });
    expect(heard).toEqual([]);
    expect(live.lastMessageMs()).toBe(0);
  });

  it('knows how old its data is', () => {
    note('overview');
    sockets.newest.accept();
    vi.advanceTimersByTime(5000);
    sockets.newest.publish('overview', 1);
    expect(live.lastMessageMs()).toBe(1_005_000);
  });

  it('says whether it connects, is live, or is lost', () => {
    expect(live.connection()).toBe('connecting');
    note('alerts');
    sockets.newest.accept();
    expect(live.connection()).toBe('live');
    sockets.newest.close();
    expect(live.connection()).toBe('lost');
  });

  it('connects again after pauses that double up to fifteen seconds', () => {
    note('alerts');
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      const count = sockets.opened.length, lostMs = Date.now();
      sockets.newest.close();
      while (sockets.opened.length === count) vi.advanceTimersByTime(100);
      pauses.push(Date.now() - lostMs);
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  });

  it('spreads those pauses over their upper half, so that not everybody comes back at once', () => {
    vi.mocked(Math.random).mockReturnValue(0);
    note('alerts');
    sockets.newest.close();
    vi.advanceTimersByTime(249);
    expect(sockets.opened).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(sockets.opened).toHaveLength(2);
  });

  it('begins with the shortest pause again once it was live', () => {
    note('alerts');
    for (let attempt = 0; attempt < 5; attempt++) {
      sockets.newest.close();
      vi.advanceTimersByTime(15_000);
    }
    sockets.newest.accept();
    sockets.newest.close();
    vi.advanceTimersByTime(500);
    expect(sockets.opened).toHaveLength(7);
  });

  it('subscribes again after a reconnection and tells everybody of the gap', () => {
    const [alerts, overview] = [note('alerts'), note('overview')];
    sockets.newest.accept();
    expect(alerts.heard).toEqual([]);
    sockets.newest.close();
    vi.advanceTimersByTime(500);
    sockets.newest.accept();
    expect(sockets.newest.said).toEqual([{ op: 'subscribe', topic: 'alerts' }, { op: 'subscribe', topic: 'overview' }]);
    expect([alerts.heard, overview.heard]).toEqual([['gap'], ['gap']]);
  });

  it('tells of a gap when even the first connection came late', () => {
    const { heard } = note('alerts');
    sockets.newest.close();
    vi.advanceTimersByTime(500);
    sockets.newest.accept();
    expect(heard).toEqual(['gap']);
  });

  it('does not subscribe again to what nobody watches any more', () => {
    const { stop } = note('alerts');
    note('overview');
    sockets.newest.accept();
    sockets.newest.close();
    stop();
    vi.advanceTimersByTime(500);
    sockets.newest.accept();
    expect(sockets.newest.said).toEqual([{ op: 'subscribe', topic: 'overview' }]);
  });

  it('tries at once when asked, and does not open a second socket afterwards', () => {
    note('alerts');
    sockets.newest.close();
    live.retryNow();
    expect(sockets.opened).toHaveLength(2);
    vi.advanceTimersByTime(9000);
    expect(sockets.opened).toHaveLength(2);
  });

  it('asks a silent server for a sign of life, and stays when it answers', () => {
    note('alerts');
    sockets.newest.accept();
    for (let round = 0; round < 6; round++) {
      vi.advanceTimersByTime(10_000);
      expect(sockets.newest.said.at(-1)).toEqual({ op: 'ping' });
      sockets.newest.speak({ type: 'pong' });
    }
    expect([sockets.opened.length, live.connection()]).toEqual([1, 'live']);
  });

  it('gives up a socket that looks open and says nothing, once', () => {
    const { heard } = note('alerts');
    sockets.newest.accept();
    const dead = sockets.newest;
    vi.advanceTimersByTime(20_000);
    expect([live.connection(), dead.readyState]).toEqual(['lost', 3]);
    vi.advanceTimersByTime(500);
    dead.onclose();
    sockets.newest.accept();
    expect([sockets.opened.length, live.connection(), heard]).toEqual([2, 'live', ['gap']]);
  });
});
