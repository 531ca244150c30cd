/*!
 * wagtail-metapixel: who has signed in, in digests, for Meta's init. Its place is before meta_script.js; a site whose
 * owner chose no field does not need it.
 *
 * metapixel.matching, called by meta_script.js, and only after a grant:
 *   ask(config): null where nobody has signed in with this browser, else a promise of Meta's keys with their digests,
 *     or of null. It never rejects, and takes 300 ms at most: what comes later is dropped.
 *   begin(config, init): calls init(person) when that is known; at once, without a person, where there is none.
 *   keeps(work): true if it is not known yet; work() is called after init.
 *   hears(word): a "revoke" before init drops what was kept, and a later "grant" begins anew.
 *   isStale(): true once whoever was named has signed out or withdrawn, or somebody else has signed in, while this very
 *     document was there. Until the next load the server alone tells, for init cannot be taken back. True, too, where
 *     the server could not say who it is when the document was looked at again: until it is looked at once more.
 */
(() => {
  'use strict';
  const api = (window.metapixel = window.metapixel || {});
  if (api.matching) return; // the file stands on the page twice

  const PATIENCE = 300; // milliseconds

  // Set at the login, and without a value: the page itself is the same for everybody.
  const isMarked = () => {
    try {
      return /(?:^|; )metapixel_user(?:=|;|$)/.test(document.cookie);
    } catch (error) {
      return false; // storage is blocked
    }
  };

  const digestsOf = (answer) => {
    const kept = Object.entries(answer).filter(([, value]) => typeof value === 'string' && /^[\da-f]{64}$/.test(value));
    return kept.length ? Object.fromEntries(kept) : null;
  };

  const request = async (url) => {
    const answer = await fetch(url, { method: 'POST', body: '{}', mode: 'same-origin' });
    if (answer.status !== 200) throw new Error(answer.status);
    return digestsOf(await answer.json());
  };

  const inTime = (url) =>
    new Promise((resolve, reject) => {
      setTimeout(reject, PATIENCE);
      request(url).then(resolve, reject);
    });

  const ask = ({ matching }) => {
    if (!matching || !isMarked()) return null;
    return new Promise((resolve) => {
      const giveUp = () => resolve(null);
      addEventListener('pagehide', giveUp, { once: true }); // better told without than not at all
      inTime(matching).then(resolve, giveUp);
    });
  };

  let named; // whom init has named, as text
  let address;
  let waiting; // what is kept until it is known who has signed in
  let anew; // what a withdrawal came before

  const begin = (config, init) => {
    anew = null;
    const answer = ask(config);
    if (!answer) return init();
    const kept = (waiting = []);
    anew = () => begin(config, init);
    const go = (person) => {
      if (waiting !== kept) return; // withdrawn meanwhile
      waiting = null;
      if (api.consent?.read() === 'denied') return; // perhaps in another tab
      anew = null;
      named = person && JSON.stringify(person);
      address = config.matching;
      if (person) init(person);
      else init();
      kept.forEach((work) => work());
    };
    answer.then(go).catch(() => {});
  };

  const keeps = (work) => Boolean(waiting && waiting.push(work));

  const hears = (word) => {
    if (word === 'revoke') waiting = null;
    else if (anew && !waiting) anew();
  };

  let stale = false;
  let unsure = false; // the server did not say who it is now
  const isStale = () => unsure || (stale = stale || Boolean(named && !isMarked()));

  // Somebody else may have signed in meanwhile, on another page.
  const askAgain = async () => {
    unsure = false;
    if (!named || waiting || isStale()) return;
    const kept = (waiting = []);
    const person = await inTime(address).catch(() => (unsure = true));
    stale = stale || (!unsure && JSON.stringify(person) !== named);
    if (waiting !== kept) return;
    waiting = null;
    kept.forEach((work) => work());
  };
  document.addEventListener('visibilitychange', () => document.hidden || askAgain());
  addEventListener('pageshow', ({ persisted }) => persisted && askAgain());

  api.matching = { ask, begin, keeps, hears, isStale };
})();
