using SdnEdge.Core.Api;
using SdnEdge.Core.Fib;
using SdnEdge.Core.Forwarding;
using SdnEdge.Core.Migration;
using SdnEdge.Core.Rib;
using SdnEdge.Core.Wire;

namespace SdnEdge.Router.Control;

/// <content>What there is of a migration in the tables: from its prepare to the end of its group.</content>
internal sealed partial class MigrationActions
{
    private sealed class Armed(RedirectGroup group, Hold? hold, PrefixSet prefixes, RouteOrigin origin, string tunnel)
    {
        /// <summary>Name of the migration's tunnel.</summary>
        public string Tunnel { get; } = tunnel;

        public RedirectGroup Group { get; } = group;

        public Hold? Hold { get; set; } = hold;

        /// <summary>Caps of the hold, for the next one.</summary>
        public HoldOptions HoldOptions { get; init; } = new();

        /// <summary>Source: what was asked back, and what waits here meanwhile; null: nothing is asked.</summary>
        public AskedBack? Asked { get; set; }

        /// <summary>Target: the last request to give back; null: there was none.</summary>
        public GivenBack? GivenBack { get; set; }

        public PrefixSet Prefixes { get; } = prefixes;

        public RouteOrigin Origin { get; } = origin;

        /// <summary>The servers are to leave this PE.</summary>
        public bool IsSource { get; init; }

        /// <summary>Target: this PE tells the prefixes as a backup.</summary>
        public bool IsBackup { get; set; }

        /// <summary>How order is kept; null: it is not.</summary>
        public OrderedGroup? Order { get; set; }

        /// <summary>What the servers send at first, kept back; null: nothing is.</summary>
        public KeptBackServers? KeptBack { get; set; }

        /// <summary>Source: flush markers that went by; null: nobody asked for them.</summary>
        public PassingMarkers? Passing { get; set; }

        /// <summary>The advertisement that asked for flush markers; null: none did.</summary>
        public AdvertisePrefixes? Advertised { get; set; }

        public int Offered { get; set; }

        public int Mtu { get; set; }

        /// <summary>Where this PE had no other route when it was last looked for.</summary>
        public int Unrouted { get; set; }

        public bool IsArming => Offered < Prefixes.Count;

        /// <summary>Target: what comes by the direct path is held, too.</summary>
        public bool HoldsAll { get; set; }

        /// <summary>Target: a release was begun.</summary>
        public bool IsReleased { get; set; }

        /// <summary>It is being removed.</summary>
        public bool IsLeaving { get; set; }
    }
}
