namespace SdnEdge.Core.Replication;

/// <summary>What a person who promotes a copy has to know of it.</summary>
/// <param name="Volume">The volume's name.</param>
/// <param name="Owner">The store that owns it.</param>
/// <param name="Role">What this store is to it.</param>
/// <param name="Copy">What the copy is.</param>
/// <param name="OwnerConnected">The owner is connected: it runs.</param>
/// <param name="OwnerAnswered">Up to here the owner has said that it has answered writes as durable; 0 = it was not heard since this store
/// was started.</param>
public sealed record PromotionFacts(string Volume, string Owner, OwnerRole Role, CopyFacts Copy, bool OwnerConnected, ulong OwnerAnswered);

/// <summary>
/// A copy that a person promotes, because the site of its owner is lost. What is lost by it is said before it is done: it is refused when
/// the owner runs, when the copy is no state that an owner once had, and when it is known to lack something; each can be forced, by the
/// volume's name and nothing else.
/// </summary>
public static class Promotion
{
    /// <summary>Why the copy is not promoted, with what would be lost and how it is forced; null = it may be.</summary>
    /// <param name="facts">What is known.</param>
    /// <param name="forced">The name that was given with force; null = none was.</param>
    /// <param name="cannot">True: no name forces it.</param>
    public static string? Refusal(PromotionFacts facts, string? forced, out bool cannot)
    {
        ArgumentNullException.ThrowIfNull(facts);
        CopyFacts copy = facts.Copy;
        cannot = true;
        if (facts.Role is OwnerRole.Owner)
            return $"this store owns {facts.Volume} itself; there is nothing to promote";
        if (facts.Role is OwnerRole.Sealed)
        {
            return $"this store is sealed in the middle of a move of {facts.Volume}: the manager decides who its owner is; where there is "
                + "no manager any more, promote it at the other store, or give it up here with resync";
        }

        if (!copy.IsConsistent && copy.LastConsistent is null)
        {
            return $"{facts.Volume} was never whole here: its first copy from {facts.Owner} is not done, so there is nothing that a server "
                + $"could start from; bring {facts.Owner} back";
        }

        if (forced is not null && forced != facts.Volume)
            return $"'{forced}' was given with force, and the volume is {facts.Volume}; nothing was done";
        if (forced is not null) return null;
        cannot = false;
        string force = $"--force {facts.Volume}";
        if (facts.OwnerConnected)
        {
            return $"{facts.Owner} runs, owns {facts.Volume} and is connected: move the server, or stop that store first; {force} takes "
                + $"the volume away from it: what is written there and not here yet ({Behind(facts)}) goes aside as a branch there";
        }

        if (!copy.IsConsistent)
        {
            return $"{facts.Volume} is being resynchronized from {facts.Owner} and is no state that an owner once had; {force} goes back "
                + $"to its last consistent point, sequence {copy.LastConsistent!.Value.Sequence}: everything that {facts.Owner} answered "
                + $"since is lost here; bring {facts.Owner} back instead, if that can be done";
        }

        return facts.OwnerAnswered > copy.Durable.Sequence
            ? $"the copy of {facts.Volume} is stale: {facts.Owner} had answered {Behind(facts)}, as durable; {force} goes on without "
                + "them: they are lost here, and a branch there when it comes back"
            : null;
    }

    private static string Behind(PromotionFacts facts)
        => facts.OwnerAnswered > facts.Copy.Durable.Sequence
            ? $"{facts.OwnerAnswered - facts.Copy.Durable.Sequence} records more, up to sequence {facts.OwnerAnswered}"
            : $"records behind sequence {facts.Copy.Durable.Sequence}";
}
