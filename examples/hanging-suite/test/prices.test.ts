import { afterAll, beforeAll, expect, test } from 'vitest'
import { ExchangeRate, Prices } from '../src/prices.ts'

let prices: Prices

beforeAll(() => {
  prices = new Prices()
})

afterAll(() => prices.close())

test('adds up a basket in its worker', async () => {
  expect(
    await prices.total([
      { count: 2, price: 1990 },
      { count: 1, price: 500 },
    ]),
  ).toBe(4480)
})

// Hangs: the loop never yields, so the timer that sets the value never runs.
test('waits for the first exchange rate', () => {
  const rate = new ExchangeRate()
  rate.refresh()
  const giveUp = performance.now() + 45_000
  while (rate.value === undefined && performance.now() < giveUp) {}
  expect(rate.value).toBe(1.08)
})

test('prices an empty basket', async () => {
  expect(await prices.total([])).toBe(0)
})
