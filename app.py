"""The Flask application: the map of the API, and what every service is made of.

What happens around each view of the map is in web/answer.py.
"""

from functools import partial

import sqlalchemy
from flask import Flask, Response, request
from flask_sqlalchemy import SQLAlchemy
from werkzeug.exceptions import MethodNotAllowed, NotFound

import database
from dialects import (
    account,
    admin,
    admin_activity,
    admin_growth,
    admin_guests,
    admin_keys,
    admin_list,
    admin_people,
    admin_webhooks,
    agentbot,
    gate,
    gate_pages,
    hitkey,
    holds,
    manual,
    my_invites,
    ops,
    pages,
    projects,
    prosody,
    sign_in,
    site,
    unsubscribe,
    v1,
)
from models import Base
from settings import HOME, Settings, in_force, load_settings
from web import answer, cors, html, openapi, requests
from web.answer import Service
from web.guards import (
    admin_form,
    admin_visitor,
    any_form,
    any_key_or_admin,
    anyone,
    api_key,
    changer,
    creator,
    key_or_admin,
    manager,
    maybe,
    own_form,
    reader,
    redeemer,
    signed_in,
    signed_in_form,
    signed_in_or_deleted,
    signed_in_visitor,
    site_admin,
    visitor,
)
from web.limits import RateLimits
from web.map import Dialect, Route, Work
from web.metrics import Metrics
from web.readiness import Readiness
from web.replies import Application, Reply

# Flask-SQLAlchemy keeps the engine of each application; the session of a unit of work is database.session().
db = SQLAlchemy(metadata=Base.metadata)

ALONE, LOOKS, READS, WRITES, STREAMS, OWN = Work

# dialect: methods, path, view, who may call, how often, what it does to the database (web/map.py)
# fmt: off
ROUTES: dict[Dialect, list[Route]] = {
    v1: [
        Route("POST",     "/v1/invites",                          v1.create_invites,            creator,              "600/minute", OWN, v1.LARGEST),
        Route("GET",      "/v1/invites",                          v1.list_invites,              reader,               "120/minute", READS),
        Route("GET",      "/v1/invites/<invite_id>",              v1.show_invite,               reader,               "120/minute", READS),
        Route("PATCH",    "/v1/invites/<invite_id>",              v1.change_invite,             changer,              "120/minute", WRITES),
        Route("POST",     "/v1/invites/<invite_id>/revoke",       v1.revoke_invite,             changer,              "120/minute", WRITES),
        Route("POST",     "/v1/invites/<invite_id>/rotate",       v1.rotate_invite,             changer,              "120/minute", WRITES),
        Route("POST",     "/v1/invites/<invite_id>/resend",       v1.resend_invite,             changer,              "120/minute", WRITES),
        Route("POST",     "/v1/invites/<invite_id>/approve",      v1.approve_use,               manager,              "120/minute", WRITES),
        Route("POST",     "/v1/invites/<invite_id>/deny",         v1.deny_use,                  manager,              "120/minute", WRITES),
        Route("GET",      "/v1/events",                           v1.list_events,               reader,               "120/minute", OWN),
    ],
    holds: [
        Route("POST",     "/v1/holds",                            holds.take_hold,              redeemer,             "600/minute", WRITES),
        Route("GET",      "/v1/holds/<hold_id>",                  holds.show_hold,              redeemer,             "120/minute", READS),
        Route("DELETE",   "/v1/holds/<hold_id>",                  holds.release_hold,           redeemer,             "600/minute", WRITES),
        Route("POST",     "/v1/holds/<hold_id>/complete",         holds.complete_hold,          redeemer,             "600/minute", WRITES),
    ],
    prosody: [
        Route("GET POST", "/invites_api",                         prosody.create_invite,        api_key,              "600/minute", WRITES),
        Route("OPTIONS",  "/invites_api",                         prosody.preflight,            anyone,               "600/minute", ALONE),
    ],
    agentbot: [
        Route("POST",     "/api/invite",                          agentbot.create_invite,       signed_in_or_deleted, "120/minute", WRITES),
        Route("POST",     "/api/invites/verify",                  agentbot.verify,              anyone,               "120/minute", LOOKS),
        Route("GET",      "/api/admin/invites",                   agentbot.list_invites,        site_admin,           "120/minute", STREAMS),
        Route("POST",     "/api/admin/invites",                   agentbot.create_for_address,  site_admin,           "120/minute", WRITES),
        Route("GET",      "/join",                                agentbot.join,                anyone,               "120/minute", ALONE),
        Route("POST",     "/api/invite/generate",                 agentbot.generate,            key_or_admin,         "600/minute", WRITES),
        Route("POST",     "/api/invite/validate",                 agentbot.validate,            anyone,               "120/minute", WRITES),
    ],
    hitkey: [
        Route("GET",      "/invites/<token>",                     hitkey.view_invite,           anyone,               "120/minute 600/invite", LOOKS),
        Route("POST",     "/invites/<token>/accept",              hitkey.accept_invite,         signed_in,            "120/minute", WRITES),
        Route("POST",     "/auth/register/with-invite",           hitkey.register_with_invite,  anyone,               "10/minute 120/invite",  OWN),
        Route("POST",     "/auth/login",                          hitkey.login,                 anyone,               "10/minute",  OWN),
        Route("POST",     "/auth/logout",                         hitkey.logout,                signed_in,            "120/minute", WRITES),
        Route("GET",      "/auth/me",                             hitkey.me,                    signed_in,            "120/minute", READS),
        Route("POST",     "/auth/token/refresh",                  hitkey.refresh_token,         anyone,               "120/minute", OWN),
        Route("POST",     "/auth/register/start",                 hitkey.start_registration,    anyone,               "10/minute",  WRITES),
        Route("POST",     "/auth/register/resend",                hitkey.resend_code,           maybe,                "10/minute",  WRITES),
        Route("POST",     "/auth/register/verify",                hitkey.verify_code,           maybe,                "10/minute",  OWN),
        Route("POST",     "/auth/register/password",              hitkey.choose_password,       anyone,               "10/minute",  OWN),
        Route("POST",     "/auth/password/forgot",                hitkey.forgot_password,       anyone,               "10/minute",  WRITES),
        Route("POST",     "/auth/password/reset",                 hitkey.reset_password,        anyone,               "10/minute",  OWN),
        Route("POST",     "/projects/",                           projects.create_project,      signed_in,            "120/minute", WRITES),
        Route("GET",      "/projects/",                           projects.list_projects,       signed_in,            "120/minute", READS),
        Route("GET",      "/projects/<slug>",                     projects.show_project,        signed_in,            "120/minute", LOOKS),
        Route("GET",      "/projects/<slug>/members",             projects.list_members,        signed_in,            "120/minute", READS),
        Route("DELETE",   "/projects/<slug>/members/<member_id>", projects.remove_member,       signed_in,            "120/minute", WRITES),
        Route("POST",     "/projects/<slug>/invites",             projects.invite_to_project,   signed_in,            "120/minute", WRITES),
        Route("GET",      "/projects/<slug>/invites",             projects.list_project_invites,signed_in,            "120/minute", READS),
        Route("DELETE",   "/projects/<slug>/invites/<invite_id>", projects.revoke_invite,       signed_in,            "120/minute", WRITES),
        Route("POST",     "/projects/<slug>/invites/<invite_id>/approve", projects.approve_use, signed_in,            "120/minute", WRITES),
        Route("POST",     "/projects/<slug>/invites/<invite_id>/deny", projects.deny_use,       signed_in,            "120/minute", WRITES),
    ],
    site: [
        Route("GET",      "/style.css",                           site.style,                  anyone,               "600/minute", ALONE),
        Route("GET",      "/favicon.ico",                         site.favicon,                anyone,               "600/minute", ALONE),
        Route("GET",      "/manifest",                            site.manifest,               anyone,               "600/minute", ALONE),
        Route("GET",      "/language/<code>",                     site.choose_language,        anyone,               "120/minute", ALONE),
    ],
    pages: [
        Route("GET",      "/",                                    pages.home,                   visitor,              "120/minute", LOOKS),
        Route("GET",      "/code",                                pages.home,                   visitor,              "120/minute", LOOKS),
        Route("POST",     "/code",                                pages.enter_code,             visitor,              "120/minute 600/invite", OWN),
        Route("GET",      "/invite",                              pages.invitation,             visitor,              "120/minute 600/invite", LOOKS),
        Route("GET",      "/qr",                                  pages.picture,                anyone,               "120/minute 600/invite", LOOKS),
        Route("POST",     "/accept",                              pages.accept,                 own_form,             "120/minute 600/invite", WRITES),
        Route("POST",     "/decline",                             pages.decline,                own_form,             "120/minute 600/invite", WRITES),
        Route("GET",      "/welcome",                             pages.welcome,                visitor,              "120/minute 600/invite", LOOKS),
        Route("GET",      "/register",                            pages.show_registration,      visitor,              "120/minute 600/invite", LOOKS),
        Route("POST",     "/register",                            pages.register,               any_form,             "10/minute 120/invite",  OWN),
        Route("GET",      "/docs",                                manual.show,                  visitor,              "120/minute", READS),
    ],
    sign_in: [
        Route("POST",     "/register/start",                      sign_in.start_registration,   own_form,             "10/minute",  WRITES),
        Route("POST",     "/register/password",                   sign_in.choose_password,      own_form,             "10/minute",  OWN),
        Route("GET",      "/verify",                              sign_in.show_verification,    visitor,              "120/minute", LOOKS),
        Route("POST",     "/verify",                              sign_in.verify,               own_form,             "10/minute",  OWN),
        Route("POST",     "/verify/send",                         sign_in.send_code,            own_form,             "10/minute",  WRITES),
        Route("GET",      "/login",                               sign_in.show_login,           visitor,              "120/minute", LOOKS),
        Route("POST",     "/login",                               sign_in.login,                own_form,             "10/minute",  OWN),
        Route("GET",      "/logout",                              sign_in.show_logout,          visitor,              "120/minute", LOOKS),
        Route("POST",     "/logout",                              sign_in.logout,               own_form,             "120/minute", WRITES),
        Route("GET",      "/password/forgot",                     sign_in.show_forgotten,       visitor,              "120/minute", LOOKS),
        Route("POST",     "/password/forgot",                     sign_in.send_reset,           own_form,             "10/minute",  WRITES),
        Route("GET",      "/password/reset",                      sign_in.show_reset,           visitor,              "120/minute", LOOKS),
        Route("POST",     "/password/reset",                      sign_in.reset,                visitor,              "10/minute",  OWN),
    ],
    account: [
        Route("GET",      "/.well-known/change-password",         account.lead_to_password,     anyone,               "120/minute", ALONE),
        Route("GET",      "/account",                             account.show_account,         signed_in_visitor,    "120/minute", READS),
        Route("POST",     "/account/name",                        account.rename,               signed_in_form,       "120/minute", WRITES),
        Route("POST",     "/account/password",                    account.change_password,      signed_in_form,       "10/minute",  OWN),
        Route("POST",     "/account/sessions/end",                account.end_session,          signed_in_form,       "120/minute", WRITES),
        Route("POST",     "/account/sessions/end-others",         account.end_other_sessions,   signed_in_form,       "120/minute", WRITES),
        Route("POST",     "/account/passes",                      account.create_pass,          signed_in_form,       "120/minute", WRITES),
        Route("POST",     "/account/passes/delete",               account.delete_pass,          signed_in_form,       "120/minute", WRITES),
        Route("GET",      "/account/data",                        account.download,             signed_in_visitor,    "10/minute",  STREAMS),
        Route("GET",      "/account/delete",                      account.show_deletion,        signed_in_visitor,    "120/minute", READS),
        Route("POST",     "/account/delete",                      account.delete,               signed_in_form,       "10/minute",  OWN),
    ],
    my_invites: [
        Route("GET",      "/invites",                             my_invites.list_mine,         signed_in_visitor,    "120/minute", READS),
        Route("POST",     "/account/invites",                     my_invites.create,            signed_in_form,       "120/minute", WRITES),
        Route("GET",      "/account/invites/<invite_id>",         my_invites.show,              signed_in_visitor,    "120/minute", READS),
        Route("POST",     "/account/invites/<invite_id>/send",    my_invites.resend,            signed_in_form,       "120/minute", WRITES),
        Route("POST",     "/account/invites/<invite_id>/revoke",  my_invites.revoke,            signed_in_form,       "120/minute", WRITES),
    ],
    admin_list: [
        Route("GET",      "/admin",                               admin_list.list_invites,      admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/chosen",                        admin_list.choose,            admin_form,           "120/minute", READS),
        Route("POST",     "/admin/chosen/revoke",                 admin_list.revoke_chosen,     admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/chosen/extend",                 admin_list.extend_chosen,     admin_form,           "120/minute", WRITES),
    ],
    unsubscribe: [
        Route("GET",      "/unsubscribe",                         unsubscribe.show,             visitor,              "120/minute", LOOKS),
        Route("POST",     "/unsubscribe",                         unsubscribe.stop,             anyone,               "120/minute", WRITES),
    ],
    admin: [
        Route("POST",     "/admin/invites",                       admin.create_invites,         admin_form,           "120/minute", WRITES),
        Route("GET",      "/admin/invites/new",                   admin.new_invite,             admin_visitor,        "120/minute", READS),
        Route("GET",      "/admin/invites/<invite_id>",           admin.show_invite,            admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/invites/<invite_id>/revoke",    admin.revoke_invite,          admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/extend",    admin.extend_invite,          admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/send",      admin.resend_invite,          admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/rotate",    admin.rotate_invite,          admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/approve",   admin.approve_use,            admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/deny",      admin.deny_use,               admin_form,           "120/minute", WRITES),
    ],
    admin_guests: [
        Route("GET",      "/admin/invites/new/list",              admin_guests.new_list,        admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/invites/new/list",              admin_guests.create_list,     admin_form,           "120/minute", OWN, admin_guests.LARGEST),
        Route("GET",      "/admin/invites/<invite_id>/qr.png",    admin_guests.picture,         admin_visitor,        "120/minute", READS),
        Route("GET",      "/admin/made",                          admin_guests.made,            admin_visitor,        "120/minute", READS),
        Route("GET",      "/admin/made.csv",                      admin_guests.made_table,      admin_visitor,        "120/minute", READS),
    ],
    admin_keys: [
        Route("GET",      "/admin/keys",                          admin_keys.list_keys,         admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/keys",                          admin_keys.create_key,        admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/keys/<key_id>/delete",          admin_keys.delete_key,        admin_form,           "120/minute", WRITES),
        Route("GET",      "/admin/presets",                       admin_keys.list_presets,      admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/presets",                       admin_keys.create_preset,     admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/presets/<name>/delete",         admin_keys.delete_preset,     admin_form,           "120/minute", WRITES),
    ],
    admin_people: [
        Route("GET",      "/admin/people",                        admin_people.list_people,     admin_visitor,        "120/minute", READS),
        Route("GET",      "/admin/people/<user_id>",              admin_people.show_person,     admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/people/<user_id>/admin",        admin_people.make_admin,      admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/people/<user_id>/disable",      admin_people.disable_person,  admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/people/<user_id>/delete",       admin_people.delete_person,   admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/people/<user_id>/reset",        admin_people.reset_person,    admin_form,           "120/minute", READS),
        Route("POST",     "/admin/people/<user_id>/passes/<pass_id>/delete", admin_people.delete_pass_of, admin_form,   "120/minute", WRITES),
        Route("GET",      "/admin/projects",                      admin_people.list_projects,   admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/projects",                      admin_people.create_project,  admin_form,           "120/minute", WRITES),
        Route("GET",      "/admin/projects/<slug>",               admin_people.show_project,    admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/projects/<slug>/owner",         admin_people.change_owner,    admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/projects/<slug>/extend",        admin_people.extend_member,   admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/projects/<slug>/members/<user_id>/remove", admin_people.remove_member, admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/projects/<slug>/gate",          admin_people.set_origins,     admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/projects/<slug>/passes/<pass_id>/delete", admin_people.delete_pass, admin_form,     "120/minute", WRITES),
        Route("POST",     "/admin/projects/<slug>/delete",        admin_people.delete_project,  admin_form,           "120/minute", WRITES),
    ],
    admin_webhooks: [
        Route("GET",      "/admin/webhooks",                      admin_webhooks.list_webhooks, admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/webhooks",                      admin_webhooks.create_webhook, admin_form,          "120/minute", OWN),
        Route("GET",      "/admin/webhooks/<webhook_id>",         admin_webhooks.show_webhook,  admin_visitor,        "120/minute", READS),
        Route("POST",     "/admin/webhooks/<webhook_id>/rotate",  admin_webhooks.rotate_webhook, admin_form,          "120/minute", WRITES),
        Route("POST",     "/admin/webhooks/<webhook_id>/disable", admin_webhooks.disable_webhook, admin_form,         "120/minute", WRITES),
        Route("POST",     "/admin/webhooks/<webhook_id>/test",    admin_webhooks.test_webhook,  admin_form,           "120/minute", WRITES),
        Route("POST",     "/admin/webhooks/<webhook_id>/retry",   admin_webhooks.retry_deliveries, admin_form,        "120/minute", WRITES),
        Route("POST",     "/admin/webhooks/<webhook_id>/delete",  admin_webhooks.delete_webhook, admin_form,          "120/minute", WRITES),
    ],
    admin_growth: [
        Route("GET",      "/admin/people/growth",                 admin_growth.list_branches,   admin_visitor,        "120/minute", READS),
    ],
    admin_activity: [
        Route("GET",      "/admin/activity",                      admin_activity.list_events,   admin_visitor,        "120/minute", READS),
    ],
    gate: [
        Route("GET",      "/gate/<slug>",                         gate.ask,                     anyone,               None,         LOOKS, None),
    ],
    gate_pages: [
        Route("GET",      "/.invite/<slug>/enter",                gate_pages.enter,             anyone,               None,         LOOKS),
        Route("GET",      "/.invite/<slug>/done",                 gate_pages.done,              anyone,               None,         LOOKS),
        Route("GET",      "/.invite/<slug>/leave",                gate_pages.leave,             anyone,               None,         ALONE),
        Route("GET",      "/pass/<slug>",                         gate_pages.show_pass,         visitor,              "600/minute", LOOKS),
    ],
    ops: [
        Route("GET",      "/openapi.json",                        manual.document,              anyone,               "120/minute", OWN),
        Route("GET",      "/swagger.json",                        manual.document,              anyone,               "120/minute", OWN),
        Route("GET",      "/health",                              ops.health,                   anyone,               None,         ALONE),
        Route("GET",      "/ready",                               ops.ready,                    anyone,               None,         OWN),
        Route("GET",      "/metrics",                             ops.metrics,                  any_key_or_admin,     "120/minute", READS),
    ],
}
# fmt: on


def create_app(settings: Settings | None = None) -> Flask:
    """The service as a WSGI application, over the database its settings name.

    Raises ConfigError or Unavailable, with a sentence for the operator, if it cannot start.
    """
    settings = settings or load_settings()
    app = Application(
        "invite_api",
        instance_path=str(settings.instance),
        root_path=str(HOME),
        static_folder=str(HOME / "static"),
        template_folder=str(HOME / "templates"),
    )
    app.config.update(
        MAX_CONTENT_LENGTH=requests.LARGEST_BODY,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.engine_options(settings),
    )
    app.jinja_environment = html.Templates
    html.set_table(app.jinja_env, settings)
    _ = settings.secrets  # a key file that cannot be read is found now, not at the first invite
    opened = database.open_database(settings, lambda: _engine(app))
    readiness = Readiness(opened, settings)
    limits = RateLimits(settings.limits, settings.limits_url)
    service = Service(settings, opened, limits, readiness, Metrics(readiness))
    app.extensions["invite_api"] = service
    app.extensions["openapi"] = manual.Description(lambda: openapi.describe(ROUTES, settings))
    _register_routes(app, service)
    return app


def _register_routes(app: Flask, service: Service) -> None:
    """Put the map into the application, and what surrounds every request."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    rows: dict[str, tuple[Dialect, Route]] = {}
    headers = {dialect: cors.Headers(dialect, service.settings) for dialect in ROUTES}
    for dialect, routes in ROUTES.items():
        for row in routes:
            methods = None if row.largest is None else row.methods.split()
            to_the_letter = True if row.largest is None else None  # what only a proxy asks ends in no slash
            rule = app.url_rule_class(row.path, methods=methods, endpoint=row.endpoint, strict_slashes=to_the_letter)
            app.url_map.add(rule)
            app.view_functions[row.endpoint] = answer.answer(service, dialect, headers[dialect], row)
            rows[row.endpoint] = dialect, row

    def handle_unrouted(error: Exception) -> Response:
        """What goes wrong before a row of the map is found: the dialect it was meant for says it."""
        dialect, row = rows.get(_meant(app, error), (_of_address(), None))
        requests.context().row = row
        asked = headers[dialect]
        if isinstance(error, MethodNotAllowed) and (told := asked.preflight(set(error.valid_methods or ()))):
            return told
        with in_force(service.settings):
            return Reply.of(dialect.refusal(answer.as_refusal(service, error)), asked.of_request())

    app.register_error_handler(Exception, handle_unrouted)
    app.before_request(lambda: answer.arrive(service.settings))
    app.after_request(partial(answer.depart, service))


def _meant(app: Flask, error: Exception) -> str:
    """The endpoint that is found at this address under another method; "" where there is none."""
    if isinstance(error, MethodNotAllowed):
        for method in sorted(error.valid_methods or (), key="GET".__ne__):  # of several the row of GET, if there is one
            try:
                return str(app.url_map.bind("").match(request.path, method=method)[0])
            except (NotFound, MethodNotAllowed):
                continue
    return ""


def _of_address() -> Dialect:
    """Who says that there is nothing at this address."""
    if request.path.startswith(gate_pages.AT_APP):
        return gate_pages
    return pages if "text/html" in request.headers.get("Accept", "") else ops


def _engine(app: Flask) -> sqlalchemy.Engine:
    db.init_app(app)
    # Its only function would end a session of its own after each request, of which there is none: that took 6 to 8 % of
    # a look-up (python bench/hot_paths.py --beside a checkout without this line).
    app.teardown_appcontext_funcs.clear()
    with app.app_context():
        return db.engine
