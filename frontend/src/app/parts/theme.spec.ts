import { TestBed } from '@angular/core/testing';
import { Query } from '../../testing/browser';
import { Theme } from './theme';

const shown = () => document.documentElement.dataset['theme'];

describe('the theme', () => {
  beforeEach(() => {
    localStorage.clear();
    Query.of('(prefers-color-scheme: dark)').turn(false);
  });

  it('is that of the machine until somebody chooses, and follows it', () => {
    const theme = TestBed.inject(Theme);
    expect([theme.choice(), theme.dark(), shown()]).toEqual(['system', false, 'light']);
    Query.of('(prefers-color-scheme: dark)').turn(true);
    expect([theme.choice(), theme.dark(), shown()]).toEqual(['system', true, 'dark']);
  });

  it('is what was chosen, whatever the machine does, and is remembered', () => {
    const theme = TestBed.inject(Theme);
    theme.choose('light');
    Query.of('(prefers-color-scheme: dark)').turn(true);
    expect([theme.dark(), shown(), localStorage.getItem('quantum.theme')]).toEqual([false, 'light', 'light']);
    TestBed.resetTestingModule();
    expect(TestBed.inject(Theme).choice()).toBe('light');
  });

  it('goes back to the machine, and forgets', () => {
    localStorage.setItem('quantum.theme', 'dark');
    const theme = TestBed.inject(Theme);
    expect(theme.dark()).toBe(true);
    theme.choose('system');
    expect([theme.dark(), shown(), localStorage.getItem('quantum.theme')]).toEqual([false, 'light', null]);
  });

  it('does not believe a choice that is none', () => {
    localStorage.setItem('quantum.theme', 'mauve');
    expect(TestBed.inject(Theme).choice()).toBe('system');
  });
});
