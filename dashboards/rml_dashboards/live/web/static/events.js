// News from the server, as they come; a broken connection is made again. A page that nobody sees holds
// none: browsers keep few connections to one server, and many open pages would use them up.

const AGAIN_MS = 5000;
const WRONG_MS = 15_000;

/**
 * @param onNews called with {runs, studies, plans, isAll}; isAll: anything may have changed
 * @param begun the version that is shown before the first news
 * @param onLink called with true or false: whether the server is heard
 */
export function listen(begun, onNews, onLink) {
  let last = null;
  let source = null;
  let timer;

  function read(event, isHello) {
    const told = JSON.parse(event.data);
    const isKnown = last !== null && last.boot === told.boot;
    const isNext = isKnown && last.version === told.before;
    const isSame = isKnown && last.version === told.version;
    const isFirst = last === null;
    last = told;
    if (isHello) {
      if (isFirst ? told.version !== begun : !isSame) onNews({ runs: [], studies: [], plans: true, isAll: true });
    } else {
      onNews({ runs: told.runs, studies: told.studies, plans: told.plans, isAll: !isNext || !told.are_all });
    }
  }

  function connect() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("/api/events");
    source.addEventListener("open", () => onLink(true));
    source.addEventListener("hello", (event) => read(event, true));
    source.addEventListener("change", (event) => read(event, false));
    source.addEventListener("error", () => {
      onLink(false);
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(connect, AGAIN_MS);
    });
  }

  function leave() {
    clearTimeout(timer);
    source?.close();
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : connect()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && connect());
  if (!document.hidden) connect();
}

/**
 * Does work again after a while as long as something is wrong that no news tell of, a tracker that is away say.
 * Call what it returns after each try: with whether it is still wrong.
 */
export function again(work) {
  let timer;
  return function tried(isWrong) {
    clearTimeout(timer);
    if (isWrong) timer = setTimeout(() => (document.hidden ? tried(true) : work().catch(() => tried(true))), WRONG_MS);
  };
}

/** The same work, but never twice at once, and once more after news that came meanwhile. */
export function oneAtATime(work) {
  let isBusy = false;
  let isWanted = false;
  return async function again() {
    isWanted = true;
    if (isBusy) return;
    isBusy = true;
    try {
      while (isWanted) {
        isWanted = false;
        await work();
      }
    } finally {
      isBusy = false;
    }
  };
}

/** Answers may overtake each other: called before a question, it gives what tells after the answer
 * whether nobody has asked since. */
export function newest() {
  let asked = 0;
  return () => {
    const mine = ++asked;
    return () => mine === asked;
  };
}
