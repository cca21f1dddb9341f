//! A connection to one server, or to a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, Pipeline,
    ScriptInvocation,
};

use super::RedisConfig;
use super::fault;
use crate::config::Secret;
use crate::sink::SinkError;

/// A connection. It is not used again after an error.
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Says what is wrong with an address.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let info = information(url)?;
    if info.redis_settings().password().is_some() {
        return Err(
            "url contains a password: name a file or an environment variable in `password` instead"
                .to_owned(),
        );
    }
    Ok(())
}

fn information(url: &str) -> Result<ConnectionInfo, String> {
    url.into_connection_info().map_err(|error| {
        format!("url {url:?} cannot be used: {error}; write redis://host:port/database, or rediss:// for TLS")
    })
}

impl Connection {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`SinkError`]: Redis cannot be reached, or refuses the user.
    pub(crate) async fn open(config: &RedisConfig, password: Option<&Secret>) -> Result<Self, SinkError> {
        let refused = |what: String| SinkError::Refused {
            what,
            advice: "correct the address".to_owned(),
        };
        let mut info = information(&config.url).map_err(refused)?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &config.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = password {
            settings = settings.set_password(password.expose());
        }
        info = info.set_redis_settings(settings);
        let doing = format!("connect to {}", config.url);
        let failed = |error| fault::of(&doing, &error);
        let timeout = config.timeout;
        let connected = async {
            if config.cluster {
                let client = ClusterClientBuilder::new([info])
                    .connection_timeout(timeout)
                    .response_timeout(timeout)
                    .build()?;
                return client.get_async_connection().await.map(Self::Cluster);
            }
            let options = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout))
                .set_response_timeout(Some(timeout));
            let client = Client::open(info)?;
            let connection = client
                .get_multiplexed_async_connection_with_config(&options)
                .await;
            connection.map(Self::Single)
        };
        // A name that is not resolved, or a cluster of which every node is silent, has no limit of its own.
        let all = timeout.saturating_mul(2) + Duration::from_secs(1);
        match tokio::time::timeout(all, connected).await {
            Ok(connected) => connected.map_err(failed),
            Err(_) => Err(SinkError::Unavailable {
                what: format!("Redis: cannot {doing}: no answer within {} s", all.as_secs()),
                retry_after_ms: 0,
            }),
        }
    }

    /// Runs a command. `doing` says in words what it is for.
    pub(crate) async fn ask<T: FromRedisValue>(
        &mut self,
        doing: &str,
        command: &Cmd,
    ) -> Result<T, SinkError> {
        let answer = match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        };
        answer.map_err(|error| fault::of(doing, &error))
    }

    /// Runs commands whose keys have one hash tag.
    pub(crate) async fn ask_all<T: FromRedisValue>(
        &mut self,
        doing: &str,
        commands: &Pipeline,
    ) -> Result<T, SinkError> {
        let answer = match self {
            Self::Single(connection) => commands.query_async(connection).await,
            Self::Cluster(connection) => commands.query_async(connection).await,
        };
        answer.map_err(|error| fault::of(doing, &error))
    }

    /// Runs a script.
    pub(crate) async fn invoke<T: FromRedisValue>(
        &mut self,
        doing: &str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, SinkError> {
        async fn run<T: FromRedisValue>(
            script: &ScriptInvocation<'_>,
            connection: &mut impl ConnectionLike,
        ) -> redis::RedisResult<T> {
            script.invoke_async(connection).await
        }
        let answer = match self {
            Self::Single(connection) => run(script, connection).await,
            Self::Cluster(connection) => run(script, connection).await,
        };
        answer.map_err(|error| fault::of(doing, &error))
    }

    /// Returns some keys that match a pattern, and the cursor to go on with; 0 at the end. `tag` is a key with
    /// the same hash tag: on a cluster, its node is asked.
    pub(crate) async fn scan(
        &mut self,
        tag: &str,
        pattern: &str,
        cursor: u64,
    ) -> Result<(u64, Vec<String>), SinkError> {
        let mut command = redis::cmd("SCAN");
        command
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(1_000);
        let doing = "list keys";
        match self {
            Self::Single(_) => self.ask(doing, &command).await,
            Self::Cluster(connection) => {
                let route = Route::with_key(tag, SlotAddr::Master);
                let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
                let answer = connection.route_command(command, routing).await;
                let answer = answer.and_then(|value| Ok(redis::from_redis_value(value)?));
                answer.map_err(|error| fault::of(doing, &error))
            }
        }
    }

    /// Refuses a server that would forget cells, or that is a replica. Servers that do not say are trusted.
    pub(crate) async fn check_it_can_be_trusted(&mut self) -> Result<(), SinkError> {
        let Self::Single(_) = self else { return Ok(()) };
        let Ok(information) = self.ask::<String>("read its settings", &redis::cmd("INFO")).await else {
            return Ok(());
        };
        let field = |name: &str| {
            let line = information
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_default().trim()
        };
        if field("role") == "slave" {
            return Err(SinkError::Refused {
                what: "Redis is a read-only replica".to_owned(),
                advice: "give the address of the primary".to_owned(),
            });
        }
        let policy = field("maxmemory_policy");
        if !matches!(field("maxmemory"), "" | "0") && !matches!(policy, "" | "noeviction") {
            return Err(SinkError::Refused {
                what: format!("Redis forgets keys when its memory is full (maxmemory-policy {policy})"),
                advice: "set maxmemory-policy noeviction, or use a Redis of its own".to_owned(),
            });
        }
        Ok(())
    }
}
