"""Every route of the tasks API, by name: the door, the app and the reference are held to this."""

from __future__ import annotations

ROUTES = (
    "POST /tasks",
    "GET /tasks",
    "GET /tasks/{task_id}",
    "GET /tasks/{task_id}/video",
    "GET /tasks/{task_id}/portrait",
    "GET /tasks/{task_id}/voice",
    "GET /tasks/{task_id}/manifest",
    "POST /tasks/{task_id}/cancel",
    "POST /tasks/{task_id}/adopt",
    "POST /tasks/{task_id}/resubmit",
    "POST /tasks/{task_id}/fail",
    "POST /cancel",
    "POST /uploads",
    "POST /quote",
    "GET /models",
    "GET /health",
    "GET /openapi.json",
    "GET /docs",
)
