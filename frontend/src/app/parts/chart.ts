import { ChangeDetectionStrategy, Component, ElementRef, OnDestroy, afterNextRender, effect, inject, input, output, viewChild } from '@angular/core';
import uPlot from 'uplot';
import { Points } from '../api/messages';
import { compact } from './format';
import { chartColumns, padded, scoreColumns } from './points';
import { Theme } from './theme';

const HEIGHT = 320;
const STRIP = 64;
const PADDING: uPlot.Padding = [10, 20, 0, 0];
const STRIP_PADDING: uPlot.Padding = [10, 20, 8, 0];
/** Ticks by their distance in seconds: the text, and the text below it where the day (or year) changes. Times of day have 24 hours. */
const DAY = '\n{YYYY}-{MM}-{DD}';
const TICKS: uPlot.Axis.Values = [
  [31_536_000, '{YYYY}', null, null, null, null, null, null, 1],
  [2_419_200, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [86_400, '{MM}-{DD}', '\n{YYYY}', null, null, null, null, null, 1],
  [60, '{HH}:{mm}', DAY, null, DAY, null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', DAY, null, DAY, null, null, null, 1],
  [0.001, ':{ss}.{fff}', DAY + ' {HH}:{mm}', null, DAY + ' {HH}:{mm}', null, '\n{HH}:{mm}', null, 1],
];

/**
 * Values with their band of usual values, odd points marked by colour and shape, and a strip of scores below that shares
 * the cursor. Dragging across selects a stretch of time.
 */
@Component({
  selector: 'q-chart',
  changeDetection: ChangeDetectionStrategy.OnPush,
  template: `<div #value class="plot" role="img" [attr.aria-label]="label()"></div>
    <div #strip class="plot" role="img" aria-label="Scores of the same time, from 0 to 1"></div>`,
  styles: `.plot { width: 100%; overflow: hidden; }`,
})
export class Chart implements OnDestroy {
  readonly points = input.required<Points>();
  readonly fromMs = input.required<number>();
  readonly toMs = input.required<number>();
  readonly label = input('Values and their usual range over time; a table view is offered below');
  readonly zoomed = output<[number, number]>();
  private readonly valueBox = viewChild.required<ElementRef<HTMLDivElement>>('value');
  private readonly stripBox = viewChild.required<ElementRef<HTMLDivElement>>('strip');
  private readonly theme = inject(Theme);
  private plots: uPlot[] = [];
  private observer?: ResizeObserver;

  constructor() {
    afterNextRender(() => {
      this.draw();
      // not within the observer's own turn: resizing there would be reported as a loop
      this.observer = new ResizeObserver(() => requestAnimationFrame(() => this.fit()));
      this.observer.observe(this.valueBox().nativeElement);
    });
    effect(() => {
      this.theme.dark();
      if (this.plots.length) this.draw();
    });
    effect(() => {
      const points = this.points();
      if (this.plots.length) this.fill(points);
    });
  }

  ngOnDestroy(): void {
    this.observer?.disconnect();
    this.plots.forEach((plot) => plot.destroy());
  }

  private fit(): void {
    const width = this.valueBox().nativeElement.clientWidth;
    if (width > 0 && this.plots[0]?.width !== width) {
      this.plots[0]?.setSize({ width, height: HEIGHT });
      this.plots[1]?.setSize({ width, height: STRIP });
    }
  }

  private fill(points: Points): void {
    const [values, strip] = this.plots;
    const x = { min: this.fromMs() / 1000, max: this.toMs() / 1000 };
    for (const [plot, data] of [
      [values, chartColumns(points)],
      [strip, scoreColumns(points)],
    ] as [uPlot, uPlot.AlignedData][]) {
      plot.setData(data, false);
      plot.setScale('x', x);
    }
  }

  private draw(): void {
    this.plots.forEach((plot) => plot.destroy());
    const ink = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const width = Math.max(240, this.valueBox().nativeElement.clientWidth);
    const axis = { stroke: ink('--muted'), grid: { stroke: ink('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui' };
    const onSelect = (plot: uPlot) => {
      const { left, width: selected } = plot.select;
      if (selected > 8) this.zoomed.emit([plot.posToVal(left, 'x') * 1000, plot.posToVal(left + selected, 'x') * 1000]);
      plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    };
    const cursor: uPlot.Cursor = { sync: { key: 'series' }, drag: { x: true, y: false, setScale: false } };
    const number = (_: uPlot, value: number | null) => compact(value);
    this.plots = [
      new uPlot({
        width, height: HEIGHT, padding: PADDING, cursor, hooks: { setSelect: [onSelect] },
        scales: { x: { time: true }, y: { range: (_, min, max) => padded(min, max) } },
        axes: [{ ...axis, values: TICKS }, { ...axis, size: 62, values: (_, ticks) => ticks.map(compact) }],
        bands: [{ series: [1, 2], fill: ink('--band') }],
        series: [
          { label: 'Time', value: '{YYYY}-{MM}-{DD} {HH}:{mm}:{ss}' },
          { label: 'Usual up to', stroke: 'transparent', points: { show: false }, value: number },
          { label: 'Usual from', stroke: 'transparent', points: { show: false }, value: number },
          { label: 'Expected', stroke: ink('--expected'), width: 1, dash: [4, 4], points: { show: false }, value: number },
          { label: 'Value', stroke: ink('--value'), width: 1.6, points: { show: false }, value: number, spanGaps: false },
          { label: 'Unusual', stroke: ink('--odd'), paths: () => null, points: { show: true, size: 9, width: 2, fill: ink('--surface') }, value: number },
        ],
      }, [[], [], [], [], [], []], this.valueBox().nativeElement),
      new uPlot({
        width, height: STRIP, padding: STRIP_PADDING, cursor, hooks: { setSelect: [onSelect] }, legend: { show: false },
        scales: { x: { time: true }, y: { range: [0, 1] } },
        axes: [{ ...axis, show: false }, { ...axis, size: 62, splits: () => [0, 1], values: () => ['0', 'score 1'] }],
        series: [{}, { label: 'Score', stroke: ink('--odd'), fill: ink('--critical-soft'), width: 1.4, points: { show: false } }],
      }, [[], []], this.stripBox().nativeElement),
    ];
    this.fill(this.points());
  }
}
