// Elements of the page, and what it says.

const $ = (id) => document.getElementById(id);
const NS = 'http://www.w3.org/2000/svg';

// Stays until the next edit, also while and after a simulation.
function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

function say(text, wrong = false) {
  $('status').textContent = text;
  $('status').className = wrong ? 'wrong' : '';
}

function element(name, attributes = {}, ...children) {
  const node = name === 'svg' || name.startsWith('svg:') ? document.createElementNS(NS, name.replace('svg:', '')) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
