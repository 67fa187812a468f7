"""Pages that describe a server: OpenAPI of its prediction, and a page to try it, without files from elsewhere."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

BODIES: dict[str, dict[str, Any]] = {
    "image": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    "video": {"video/*": {"schema": {"type": "string", "format": "binary"}}},
    "text": {
        "application/json": {
            "schema": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
            "example": {"text": "a sentence"},
        },
        "text/plain": {"schema": {"type": "string"}},
    },
    "noise": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["noise"],
                "properties": {
                    "noise": {
                        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "array", "items": {"type": "number"}}]
                    },
                    "label": {"type": "string", "description": "class, of a conditional generator"},
                },
            },
            "example": {"noise": 3},
        }
    },
}
"""Request bodies by kind of sample."""

SENT = {
    "image": "--data-binary @image.jpg -H 'Content-Type: image/jpeg'",
    "video": "--data-binary @clip.mp4 -H 'Content-Type: video/mp4'",
    "text": """-H 'Content-Type: application/json' -d '{"text": "a sentence"}'""",
    "noise": """-H 'Content-Type: application/json' -d '{"noise": 3}'""",
}
PARAMETERS = [
    (
        "threshold",
        {"type": "number", "minimum": 0, "maximum": 1},
        "lowest score of detections; by default that of each class where model.calibrate chose them, else 0",
    ),
    ("top", {"type": "integer", "minimum": 1}, "number of classes with their scores, best first; all by default"),
    (
        "masks",
        {"enum": ["rle", "png", "none"], "default": "rle"},
        "form of masks: COCO's run lengths, or PNG in base64",
    ),
]
OPTIONS = {"image": ("threshold", "top", "masks"), "video": ("top",), "text": (), "noise": ()}
"""Names of the parameters by kind of sample."""
DRAWN = ("image", "noise")
"""Kinds of samples whose predictions may be images."""
ERRORS = {
    400: "a request or option of another form",
    401: "no token, or another one",
    403: "a request to another host name, of a server on this machine alone",
    406: "a prediction that is no image",
    408: "a request that is too slow",
    413: "a request that is too large",
    415: "another kind of file",
    422: "a file that cannot be read, or an image of too many pixels",
    503: "too many requests under way",
}


def description(kind: str, token: bool) -> dict[str, Any]:
    """The OpenAPI operation of a prediction."""
    problem = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
    errors = {str(code): {"description": words, "content": problem} for code, words in ERRORS.items()}
    shown = {"application/json": {"schema": {"type": "object"}}} | ({"image/png": {}} if kind in DRAWN else {})
    return {
        "requestBody": {"required": True, "content": BODIES[kind]},
        "parameters": [
            {"name": name, "in": "query", "schema": schema, "description": words}
            for name, schema, words in PARAMETERS
            if name in OPTIONS[kind]
        ],
        "responses": {"200": {"description": "the prediction", "content": shown}} | errors,
    } | ({"security": [{"token": []}]} if token else {})


def page(
    title: str, kind: str, facts: dict[str, Any], schema: dict[str, Any], token: bool, names: Sequence[str] = ()
) -> str:
    """One HTML page: what is served, how it is called, and a form to try it.

    Args:
        title: heading.
        kind: of the samples.
        facts: rows of its first table, by name.
        schema: that of OpenAPI.
        token: requests must bear one.
        names: classes to choose from, of a conditional generator.
    """
    paths = "".join(
        f"<tr><td><code>{method.upper()} {escape(path)}</code></td><td>{escape(operation.get('summary', ''))}</td></tr>"
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    )
    options = {f"?{name}=": words for name, _, words in PARAMETERS if name in OPTIONS[kind]}
    if kind in DRAWN:
        options["Accept: image/png"] = "header: answer with the image alone, of maps and generated images"
    listed = "".join(
        f"<tr><td><code>{name}</code></td><td>{escape(words)}</td></tr>" for name, words in options.items()
    )
    errors = "".join(f"<tr><td>{code}</td><td>{escape(words)}</td></tr>" for code, words in ERRORS.items())
    known = {key: value for key, value in facts.items() if value is not None and key != "status"}
    rows = "".join(f"<tr><td>{escape(key)}</td><td>{escape(_words(value))}</td></tr>" for key, value in known.items())
    bearer = " -H 'Authorization: Bearer TOKEN'" if token else ""
    field = {
        "image": '<input id="sample" type="file" accept="image/*">',
        "video": '<input id="sample" type="file" accept="video/*">',
        "text": '<input id="sample" type="text" size="50" value="">',
        "noise": '<input id="sample" type="number" min="0" value="0">',
    }[kind]
    if names:
        offered = "".join(f"<option>{escape(name)}</option>" for name in names)
        field += f' <select id="label" aria-label="class">{offered}</select>'
    secret = '<input id="token" type="password" placeholder="token"> ' if token else ""
    return PAGE.format(
        title=escape(title),
        facts=rows,
        paths=paths,
        options=f"<h2>Options of a prediction</h2>\n<table>{listed}</table>" if options else "",
        errors=errors,
        field=field,
        secret=secret,
        kind=json.dumps(kind),
        curl=escape(f"curl{bearer} {SENT[kind]} "),
    )


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
code, pre {{ font-family: ui-monospace, monospace; font-size: 0.9em; background: #f3f3f3; border-radius: 4px }}
pre {{ padding: 0.7rem; overflow: auto; max-height: 24rem; white-space: pre-wrap; overflow-wrap: anywhere }}
td {{ padding: 0.15rem 1rem 0.15rem 0; vertical-align: top; overflow-wrap: anywhere }}
h2 {{ margin-top: 2rem; font-size: 1.1rem }}
</style></head><body>
<h1>{title}</h1>
<table>{facts}</table>
<h2>Try it</h2>
<p>{field} {secret}<button id="send">Predict</button></p>
<pre id="answer" hidden></pre>
<h2>Call it</h2>
<pre id="curl">{curl}</pre>
<h2>Paths</h2>
<table>{paths}<tr><td><a href="openapi.json"><code>openapi.json</code></a></td>
<td>all of this for programs</td></tr></table>
{options}
<h2>Errors</h2>
<p>JSON with one sentence, <code>{{"error": "..."}}</code>.</p>
<table>{errors}</table>
<script>
const kind = {kind}, sample = document.getElementById("sample"), shown = document.getElementById("answer");
const where = new URL("predict", location.href).href;
document.getElementById("curl").textContent += where;
document.getElementById("send").onclick = async () => {{
  const label = document.getElementById("label");
  const file = sample.files ? sample.files[0] : null, token = document.getElementById("token");
  const value = kind === "noise" ? Number(sample.value) : sample.value;
  const headers = token ? {{ Authorization: "Bearer " + token.value }} : {{}};
  if (!sample.files) headers["Content-Type"] = "application/json";
  const body = sample.files ? file : JSON.stringify({{ [kind]: value, ...(label && {{ label: label.value }}) }});
  shown.hidden = false;
  try {{
    const response = await fetch(where, {{ method: "POST", body, headers }});
    shown.textContent = JSON.stringify(await response.json(), null, 1);
  }} catch (fault) {{ shown.textContent = String(fault); }}
}};
</script></body></html>
"""
