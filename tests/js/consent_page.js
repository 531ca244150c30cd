// A page with one of the consent tools of other people: what their test files share.
'use strict';
const { Page, settle } = require('./browser.js');

const CHOICE = '/metapixel/choice/';

const open = (provider, { names = { category: 'marketing' }, config, scripts, ...options } = {}) =>
  new Page({
    scripts: scripts ||
      ['consent_watch.js', `consent_${provider}.js`, 'first_party_cookies.js', 'page_swaps.js', 'metapixel.js'],
    ...options,
    config: { provider, tool: names, ...config },
  });

const answer = (page) => page.window.metapixel.consent.read();
const mirror = (page) => page.jar.get('metapixel_choice');
const withdrawals = (page) => page.posts.filter(({ body }) => body.choice === 'withdrawn').length;

// An event of the tool, and the half second after it.
const say = async (page, name, target = page.windowListeners, event = {}) => {
  await page.tell(name, event, target);
  await page.pass(500);
};

module.exports = { CHOICE, answer, mirror, open, say, settle, withdrawals };
