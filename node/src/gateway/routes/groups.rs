//! Routes under `/api/groups`.
//!
//! Who may do what is the conversation's own decision; here requests are checked for form, unknown people refused before
//! anything is done, and people's names joined in.

use std::collections::HashSet;
use std::sync::Arc;

use hyper::Method;
use hyper::header::LOCATION;
use rookery_actors::id::{ConversationId, FileId, UserId};
use rookery_actors::ports::chats;
use rookery_actors::ports::files::PhotoOf;
use rookery_actors::protocol::view::{Group, Member, Page, Role};
use rookery_actors::protocol::{ErrorCode, Limits, Problem};
use rookery_actors::system::{GroupPatch, GroupState, NewGroup};
use serde::{Deserialize, Deserializer};

use super::files::photo_url;
use crate::app::App;
use crate::gateway::http::{Call, Failure, Reply};
use crate::gateway::router::Router;

/// Longest description, in Unicode scalar values.
const DESCRIPTION_CHARS: usize = 1_000;
/// Room for everything of a body but its list of members, every character escaped.
const BODY_BYTES: usize = 32 * 1024;
/// What one id takes in a list: 36 digits, quotes, a comma and some space.
const ID_BYTES: usize = 48;
/// Members on a page, unless the client says otherwise.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;

pub fn register(router: &mut Router) {
    router
        .route(Method::POST, "/api/groups", create)
        .route(Method::POST, "/api/groups/create", create)
        .route(Method::GET, "/api/groups/{id}", read)
        .route(Method::PATCH, "/api/groups/{id}", patch)
        .route(Method::DELETE, "/api/groups/{id}", delete)
        .route(Method::GET, "/api/groups/{id}/members", members)
        .route(Method::POST, "/api/groups/{id}/members", add)
        .route(Method::DELETE, "/api/groups/{id}/members/{user}", remove)
        .route(Method::PATCH, "/api/groups/{id}/members/{user}", change_role);
}

#[derive(Deserialize)]
struct NewGroupBody {
    name: String,
    #[serde(default)]
    photo: Option<FileId>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    members: Vec<UserId>,
}

#[derive(Deserialize)]
struct GroupPatchBody {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    photo: Option<Option<FileId>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
}

#[derive(Deserialize)]
struct Users {
    users: Vec<UserId>,
}

#[derive(Deserialize)]
struct NewRole {
    role: Role,
}

async fn create(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let body: NewGroupBody = call.json(list_bytes(&app.limits)).await?;
    check_name(&body.name, &app.limits)?;
    let description = body.description.map(description).transpose()?.flatten();
    let members = others(body.members, caller.user);
    if members.len() + 1 > app.limits.group_members {
        return Err(Problem::too_large("members", app.limits.group_members).into());
    }
    app.accounts.require(&members).await?;
    if let Some(photo) = body.photo {
        app.files.adopt_photo(caller.user, photo, PhotoOf::Group).await?;
    }
    let group = NewGroup {
        name: body.name,
        photo: body.photo,
        description,
        members,
    };
    let group = app.system.create_group(caller.user, group).await?;
    let location = format!("/api/groups/{}", group.id);
    let view = view(&app, group).await?;
    Ok(Reply::created(&view).with_header(LOCATION, location))
}

async fn read(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let group = app.system.group(caller.user, call.id("id")?).await?;
    Ok(Reply::ok(&view(&app, group).await?))
}

async fn patch(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id: ConversationId = call.id("id")?;
    let body: GroupPatchBody = call.json(BODY_BYTES).await?;
    if let Some(name) = &body.name {
        check_name(name, &app.limits)?;
    }
    let description = body.description.map(|text| text.map(description).transpose());
    if let Some(Some(photo)) = body.photo {
        // A stranger learns that there is no such group before anything is said of the photo.
        app.system.group(caller.user, id).await?;
        app.files.adopt_photo(caller.user, photo, PhotoOf::Group).await?;
    }
    let patch = GroupPatch {
        name: body.name,
        photo: body.photo,
        description: description.transpose()?.map(Option::flatten),
    };
    let group = app.system.patch_group(caller.user, id, patch).await?;
    Ok(Reply::ok(&view(&app, group).await?))
}

async fn delete(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    app.system.delete_group(caller.user, call.id("id")?).await?;
    Ok(Reply::none())
}

async fn members(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id = call.id("id")?;
    let (after, limit) = by_user(&call)?;
    let members = app.system.members(caller.user, id, after, limit + 1).await?;
    let (members, next) = page(members, limit, |member| member.user);
    let items = with_people(&app, members).await?;
    Ok(Reply::ok(&Page { items, next }))
}

async fn add(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let id: ConversationId = call.id("id")?;
    let body: Users = call.json(list_bytes(&app.limits)).await?;
    let users = others(body.users, caller.user);
    if users.len() > app.limits.group_members {
        return Err(Problem::too_large("users", app.limits.group_members).into());
    }
    // A stranger learns nothing of the group by asking for people who do not exist.
    let group = app.system.group(caller.user, id).await?;
    app.accounts.require(&users).await?;
    if users.is_empty() {
        return Ok(Reply::ok(&view(&app, group).await?));
    }
    app.system.add_members(caller.user, id, users).await?;
    let group = app.system.group(caller.user, id).await?;
    Ok(Reply::ok(&view(&app, group).await?))
}

async fn remove(app: Arc<App>, call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let member = member_in_path(&call, caller.user)?;
    app.system.remove_member(caller.user, call.id("id")?, member).await?;
    Ok(Reply::none())
}

async fn change_role(app: Arc<App>, mut call: Call) -> Result<Reply, Failure> {
    let caller = app.caller(&call)?;
    let (id, member) = (call.id("id")?, member_in_path(&call, caller.user)?);
    let body: NewRole = call.json(BODY_BYTES).await?;
    app.system.change_role(caller.user, id, member, body.role).await?;
    Ok(Reply::none())
}

/// A group with the people in it.
async fn view(app: &App, group: GroupState) -> Result<Group, Problem> {
    Ok(Group {
        id: group.id,
        name: group.name,
        photo_url: group.photo.map(photo_url),
        description: group.description,
        owner: group.owner,
        members: with_people(app, group.members).await?,
        member_count: group.member_count,
        created_at: group.created_at,
        updated_at: group.updated_at,
    })
}

/// Members as clients see them. One whose account went this moment is left out.
async fn with_people(app: &App, members: Vec<chats::Member>) -> Result<Vec<Member>, Problem> {
    let ids: Vec<UserId> = members.iter().map(|member| member.user).collect();
    let mut people = app.accounts.users(&ids).await?;
    let seen = members.into_iter().filter_map(|member| {
        let user = people.remove(&member.user)?;
        Some(Member {
            user,
            role: member.role,
            joined_at: member.joined_at,
        })
    });
    Ok(seen.collect())
}

/// `?cursor=&limit=` of a list that goes by user id.
pub(super) fn by_user(call: &Call) -> Result<(Option<UserId>, usize), Problem> {
    let page = call.page(PAGE, LARGEST_PAGE)?;
    let after = page.cursor.map(|cursor| cursor.parse()).transpose();
    let after = after.map_err(|_| Problem::new(ErrorCode::BadRequest, "cursor is none that was given out here"))?;
    Ok((after, page.limit))
}

/// Cuts a list that was asked for with one more than the page to the page, and says where the next begins.
pub(super) fn page<T>(mut list: Vec<T>, limit: usize, user: impl Fn(&T) -> UserId) -> (Vec<T>, Option<String>) {
    let more = list.len() > limit;
    list.truncate(limit);
    let next = list.last().filter(|_| more).map(|last| user(last).to_string());
    (list, next)
}

/// The member a path names; `me` is who asks.
fn member_in_path(call: &Call, caller: UserId) -> Result<UserId, Problem> {
    match call.param("user") {
        "me" => Ok(caller),
        _ => call.id("user"),
    }
}

/// Each once, without the one who asks: who makes a group or adds to it is in it.
fn others(mut users: Vec<UserId>, caller: UserId) -> Vec<UserId> {
    let mut seen = HashSet::from([caller]);
    users.retain(|user| seen.insert(*user));
    users
}

fn list_bytes(limits: &Limits) -> usize {
    BODY_BYTES + limits.group_members.saturating_mul(ID_BYTES)
}

fn check_name(name: &str, limits: &Limits) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::field("name", "must not be blank"));
    }
    if name.chars().count() > limits.group_name_chars {
        return Err(Problem::too_large("name", limits.group_name_chars));
    }
    if name.chars().any(char::is_control) {
        return Err(Problem::field("name", "must not hold control characters"));
    }
    Ok(())
}

/// A description within its bounds; a blank one is none.
fn description(text: String) -> Result<Option<String>, Problem> {
    if text.chars().count() > DESCRIPTION_CHARS {
        let why = format!("must have at most {DESCRIPTION_CHARS} characters");
        return Err(Problem::field("description", why));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Tells a field that is `null` from one that is absent.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(outcome: Result<(), Problem>) -> Option<(ErrorCode, Option<String>)> {
        let problem = outcome.err()?;
        Some((problem.code, problem.errors.into_iter().map(|error| error.field).next()))
    }

    #[test]
    fn a_name_has_one_to_a_hundred_scalar_values() {
        let limits = Limits::default();
        for name in ["x", "日本語", &"é".repeat(100)] {
            assert_eq!(code(check_name(name, &limits)), None, "{name}");
        }
        let blank = Some((ErrorCode::InvalidField, Some("name".into())));
        for name in ["", "  ", "a\nb"] {
            assert_eq!(code(check_name(name, &limits)), blank, "{name:?}");
        }
        assert_eq!(
            code(check_name(&"é".repeat(101), &limits)),
            Some((ErrorCode::TooLarge, None))
        );
    }

    #[test]
    fn a_description_may_be_cleared_but_not_endless() {
        assert_eq!(description("about us".into()), Ok(Some("about us".into())));
        assert_eq!(description(" ".into()), Ok(None));
        assert_eq!(
            code(description("x".repeat(1001)).map(drop)).map(|(code, _)| code),
            Some(ErrorCode::InvalidField)
        );
    }

    #[test]
    fn people_are_counted_once_and_the_caller_not_at_all() {
        let (caller, other, third) = (UserId::fresh(), UserId::fresh(), UserId::fresh());
        assert_eq!(others(vec![other, caller, other, third], caller), [other, third]);
    }

    #[test]
    fn a_patch_tells_null_from_absent() {
        let patch: GroupPatchBody = serde_json::from_str(r#"{"photo":null}"#).expect("a patch");
        assert_eq!((patch.name, patch.photo, patch.description), (None, Some(None), None));
    }

    #[test]
    fn a_page_says_where_the_next_begins_only_if_there_is_one() {
        let users: Vec<UserId> = (0..3).map(|_| UserId::fresh()).collect();
        let same = |user: &UserId| *user;
        assert_eq!(page(users.clone(), 3, same), (users.clone(), None));
        let next = Some(users[1].to_string());
        assert_eq!(page(users.clone(), 2, same), (users[..2].to_vec(), next));
        assert_eq!(page(Vec::new(), 2, same), (Vec::new(), None));
    }

    #[test]
    fn the_largest_group_fits_in_a_body() {
        let limits = Limits::default();
        let list = limits.group_members * (UserId::fresh().to_string().len() + 4);
        assert!(list_bytes(&limits) > list + limits.group_name_chars * 12 + DESCRIPTION_CHARS * 12);
    }
}
