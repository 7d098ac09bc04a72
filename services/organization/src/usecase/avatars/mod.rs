//! Pictures of organizations.

mod drawing;

use std::sync::Arc;

use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Caller, Done, Looked, Mutation, Problem};
use bursar_runtime::Heavy;
use tokio::sync::Semaphore;

use super::Organization;
use super::access::{acting, demand_served};
use super::organizations::seen;
use crate::Error;
use crate::content::{Place, Places};
use crate::domain::Refusal;
use crate::domain::avatar::{self, Picture};
use crate::store::avatars::{self, AvatarRow};
use crate::store::organizations::OrganizationOfUser;

pub use drawing::{AvatarError, Change, Upload};

/// Pictures that are drawn at a time: each takes a core and at most some 256 MiB, while one is turned or cut.
const AT_A_TIME: usize = 1;
/// Pictures that may be drawn or wait for it.
const PLACES: usize = 16;
/// As many of them one person may have, in whichever organizations: others have a place beside, and wait for few of them.
const PLACES_OF_ONE: usize = 4;

/// Where pictures are drawn, few at a time. What a picture holds is held by the work, not by whoever waits for it.
#[derive(Clone, Debug)]
pub struct Easel {
    places: Places,
    turns: Arc<Semaphore>,
    threads: Heavy,
}

impl Easel {
    /// One on which nothing is drawn yet.
    pub fn new() -> std::io::Result<Self> {
        let (places, turns) = (Places::new(PLACES, PLACES_OF_ONE), Arc::new(Semaphore::new(AT_A_TIME)));
        Ok(Self { places, turns, threads: Heavy::start("drawing", AT_A_TIME)? })
    }

    /// A place for a picture that this person sets; [`Error::Overloaded`] when too many wait, or too many of theirs.
    fn place(&self, user: UserId) -> Result<Place, Error> {
        self.places.take(OwnerId::User(user)).ok_or(Error::Overloaded)
    }

    /// Draws a picture that this person sets when it is its turn; [`Error::Overloaded`] without a place.
    async fn draw(&self, user: UserId, upload: Upload) -> Result<Vec<Picture>, Error> {
        let place = self.place(user)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Error::Internal("the easel is closed"))?;
        let drawing = self.threads.run(move || {
            let held = (place, turn);
            let drawn = upload.draw();
            drop(held);
            drawn
        });
        let drawn = drawing.await.map_err(|_| Error::Internal("drawing a picture ended too early"))?;
        Ok(drawn.map_err(|error| Problem::invalid_field("content", error.to_string()))?)
    }
}

impl Organization {
    /// Sets or removes an organization's picture. It is drawn between two mutations, so that no connection waits
    /// for a core.
    pub async fn set_avatar(
        &self,
        id: OrganizationId,
        asked: &Asked<Change>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.may_set_avatar(&mut m, id, asked).await;
        let pictures = match self.0.mutations.look(m, looked).await? {
            Looked::Before(answer) => return Ok(answer),
            Looked::On(Change::Draw(upload)) => self.0.easel.draw(asked.user()?.user, upload).await?,
            Looked::On(Change::Remove) => Vec::new(),
        };
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.hang(&mut m, id, asked, &pictures).await;
        self.0.mutations.end(m, done).await
    }

    async fn may_set_avatar(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<Change>,
    ) -> Result<Option<Change>, Error> {
        self.admit(m, asked.user()?, id).await?;
        Ok(m.open(asked).await?.cloned())
    }

    async fn hang(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<Change>,
        pictures: &[Picture],
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit(m, caller, id).await?;
        let Some(_) = m.open(asked).await? else { return Ok(Done::Replay) };
        let (organization, role) = self.enter(m.tx(), caller, id).await?;
        avatars::replace(m.tx(), id, pictures).await?;
        let now = m.now();
        Ok(Done::New(seen(m.tx(), organization, Some((role, caller)), now).await?, Vec::new()))
    }

    /// An organization's picture for a member or a service of the product, in the size that suits `size` pixels and
    /// without its content where it is the one that `known` names.
    pub async fn get_avatar(
        &self,
        caller: &Caller,
        id: OrganizationId,
        size: Option<u32>,
        known: &str,
    ) -> Result<AvatarRow, Error> {
        let mut tx = self.0.db.read().await?;
        match acting(caller)? {
            Some(user) => drop(self.authorize(&mut tx, user, id).await?),
            // For any organization; one that there is not has no picture.
            None => demand_served(&mut tx, OwnerId::Organization(id)).await?,
        }
        let row = avatars::find(&mut tx, id, avatar::size_for(size), known).await?;
        Ok(row.ok_or(Refusal::NoAvatar)?)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_person_leaves_places_to_others() {
        let [ada, ben] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]));
        let easel = Easel::new().expect("a thread");
        let mut taken: Vec<Place> = (0..PLACES_OF_ONE).map(|_| easel.place(ada).expect("free")).collect();
        assert!(matches!(easel.place(ada), Err(Error::Overloaded)), "as many as one may have");
        let _other = easel.place(ben).expect("another has a place all the same");
        taken.pop();
        taken.push(easel.place(ada).expect("given back"));
        let others: Vec<_> = (3..100).map(|n| easel.place(UserId::from_parts(n, [0; 10]))).collect();
        let free = others.iter().filter(|place| place.is_ok()).count();
        assert_eq!(free, PLACES - PLACES_OF_ONE - 1, "as many as there are");
    }

    /// Kind C: what somebody gave up is still to be drawn.
    #[tokio::test]
    async fn who_hangs_up_keeps_the_place_until_the_picture_is_drawn() {
        let (ada, easel) = (UserId::from_parts(1, [0; 10]), Easel::new().expect("a thread"));
        let (finish, finished) = mpsc::channel::<()>();
        // The one thread has something else to do for now.
        let busy = easel.threads.run(move || finished.recv().is_ok());
        let upload = Upload::parse(b"\x89PNG\r\n\x1a\n and no picture").expect("it begins like one");
        let mut drawing = Box::pin(easel.draw(ada, upload));
        assert!(poll_fn(|context| Poll::Ready(drawing.as_mut().poll(context).is_pending())).await, "it waits");
        drop(drawing);
        let _beside: Vec<Place> = (1..PLACES_OF_ONE).map(|_| easel.place(ada).expect("free")).collect();
        assert!(matches!(easel.place(ada), Err(Error::Overloaded)), "nobody waits for it, but its place is taken");
        finish.send(()).expect("the thread waits for that");
        assert!(busy.await.expect("it has ended"));
        let given_back = async {
            while easel.place(ada).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), given_back).await.expect("it is given back once it is drawn");
    }
}
