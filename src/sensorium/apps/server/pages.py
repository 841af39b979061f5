"""/docs: every route on one page, without a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Template

PAGE = Template(
    """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta name="viewport" content="width=device-width"><title>{{ info.title }} {{ info.version }}</title>
<main><h1>{{ info.title }} {{ info.version }}</h1>
<p>The same, for programs: <a href="/openapi.json">/openapi.json</a></p>
{% for path, methods in paths.items() %}{% for method, route in methods.items() %}
<h2><code>{{ method | upper }} {{ path }}</code></h2><p>{{ route.summary }}. {{ route.description }}</p>
<dl>{% for name, about in fields(route).items() %}<dt><code>{{ name }}</code></dt><dd>{{ about }}</dd>
{% endfor %}</dl>
{% endfor %}{% endfor %}</main></html>
""",
    autoescape=True,
)


def overview(api: Mapping[str, Any]) -> str:
    """An OpenAPI description as a page."""
    schemas = api.get("components", {}).get("schemas", {})

    def fields(route: Mapping[str, Any]) -> dict[str, str]:
        found = {p["name"]: p.get("description", "") for p in route.get("parameters", ())}
        for body in route.get("requestBody", {}).get("content", {}).values():
            schema = body["schema"]
            schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
            found |= {name: about.get("description", "") for name, about in schema.get("properties", {}).items()}
        return found

    return str(PAGE.render(info=api["info"], paths=api["paths"], fields=fields))
